"""What can go wrong, named once. Rooms raise these; only `web/errors.py` knows status codes.

    FpserverError
    ├── InvalidRequest          a field, parameter or body breaks a rule
    │   └── TableInvalid        a file is not the CSV table that was asked for
    ├── MediaTypeUnsupported    a body is of a type that is not taken here
    ├── BodyTooLarge            a document has more bytes than the limit
    ├── UploadTimeout           a body arrives too slowly, or stands still
    ├── AudioError              these bytes cannot be used as audio
    │   ├── AudioEmpty          no bytes at all
    │   ├── AudioUnsupported    no decoder reads it, or it holds no sound
    │   ├── AudioDamaged        begins like audio, gives no usable sound
    │   ├── AudioTooLarge       more bytes than the limit
    │   ├── AudioTooLong        more seconds than the limit
    │   ├── AudioTooShort       fewer seconds than the limit
    │   ├── AudioSilent         nothing in it can be recognised: silence, a steady tone
    │   ├── AudioTimeout        decoding took longer than the limit
    │   └── AudioCrash          decoding ended its process: memory limit, or a fault in the decoder
    ├── SourceMissing           a track's file is not where its submission said
    ├── FingerprintInvalid      not a fingerprint body
    ├── FingerprintForeign      made by other settings than this index's
    ├── NotDescribed            a track is not described yet, or not by what was asked for
    ├── LengthsDiffer           two things cannot be compared, one is too long for the other
    ├── MapFailed               a map could not be computed within its limits
    ├── TrainingFailed          a model could not be trained within its limits
    ├── TrackNotFound
    ├── BatchNotFound
    ├── UserNotFound
    ├── KeyNotFound             no API key has this id
    ├── Unauthenticated         no key came with the request, or one that does not do
    ├── ScopeMissing            the key has not the scope that this needs
    ├── OriginRefused           a web page of another origin asks, or under another name
    ├── RateLimited             more requests a second than the key may; carries when to try again
    │   └── QuotaExceeded       more requests a day
    ├── Conflict                the thing is in a state that does not allow this
    ├── Overloaded              more work than places; try again later
    ├── Stopping                the server is about to stop; others take its place
    ├── StoreUnavailable        Redis does not answer in time
    ├── ForeignIndex            the index in Redis was made by other settings
    ├── EmbeddedStoreMissing    no embedded server for this platform
    └── ConfigInvalid           a setting is unknown or breaks its rule

Every message names the thing, the value and the rule. All survive pickling: they cross process borders.
"""

from typing import ClassVar


class FpserverError(Exception):
    """Base of all errors that are meant to be read by somebody."""

    code: ClassVar[str] = "internal"

    @property
    def message(self) -> str:
        """The sentence for the reader."""
        return str(self)


class InvalidRequest(FpserverError):
    """A field, parameter or body breaks a rule."""

    code = "invalid_request"


class TableInvalid(InvalidRequest):
    """A file is not the CSV table that was asked for."""


class MediaTypeUnsupported(FpserverError):
    """A body is of a type that is not taken here."""

    code = "media_type_unsupported"


class BodyTooLarge(FpserverError):
    """A document has more bytes than the limit."""

    code = "body_too_large"


class UploadTimeout(FpserverError):
    """A body arrives too slowly, or stands still."""

    code = "upload_timeout"


class AudioError(FpserverError):
    """These bytes cannot be used as audio."""

    code = "audio_unusable"


class AudioEmpty(AudioError):
    """No bytes at all."""

    code = "audio_empty"


class AudioUnsupported(AudioError):
    """No decoder reads it, or it holds no sound."""

    code = "audio_unsupported"


class AudioDamaged(AudioError):
    """It begins like audio, but gives no usable sound."""

    code = "audio_damaged"


class AudioTooLarge(AudioError):
    """More bytes than the limit."""

    code = "audio_too_large"


class AudioTooLong(AudioError):
    """More seconds than the limit."""

    code = "audio_too_long"


class AudioTooShort(AudioError):
    """Fewer seconds than the limit."""

    code = "clip_too_short"


class AudioSilent(AudioError):
    """Nothing in it can be recognised."""

    code = "audio_silent"


class AudioTimeout(AudioError):
    """Decoding took longer than the limit."""

    code = "audio_timeout"


class AudioCrash(AudioError):
    """Decoding ended its process."""

    code = "audio_crash"


class SourceMissing(FpserverError):
    """A track's file is not where its submission said."""

    code = "source_missing"


class FingerprintInvalid(FpserverError):
    """Not a fingerprint body."""

    code = "fingerprint_invalid"


class FingerprintForeign(FpserverError):
    """Made by other settings than this index's."""

    code = "fingerprint_foreign"


class NotDescribed(FpserverError):
    """A track is not described yet, or not by what was asked for."""

    code = "not_described"


class LengthsDiffer(FpserverError):
    """Two things cannot be compared, one is too long for the other."""

    code = "lengths_differ"


class MapFailed(FpserverError):
    """A map could not be computed within its limits."""

    code = "map_failed"


class TrainingFailed(FpserverError):
    """A model could not be trained within its limits."""

    code = "training_failed"


class TrackNotFound(FpserverError):
    """No track has this id."""

    code = "track_not_found"


class BatchNotFound(FpserverError):
    """No batch has this id."""

    code = "batch_not_found"


class UserNotFound(FpserverError):
    """Nothing is known of a user of this name."""

    code = "user_not_found"


class KeyNotFound(FpserverError):
    """No API key has this id."""

    code = "key_not_found"


class Unauthenticated(FpserverError):
    """No key came with the request, or one that does not do."""

    code = "unauthenticated"


class ScopeMissing(FpserverError):
    """The key has not the scope that this needs."""

    code = "scope_missing"


class OriginRefused(FpserverError):
    """A web page of another origin asks, or under another name."""

    code = "origin_refused"


class RateLimited(FpserverError):
    """More requests a second than the key may."""

    code = "rate_limited"

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        super().__init__(message, retry_after_s)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return str(self.args[0])


class QuotaExceeded(RateLimited):
    """More requests a day than the key may."""

    code = "quota_exceeded"


class Conflict(FpserverError):
    """The thing is in a state that does not allow this."""

    code = "conflict"


class Overloaded(FpserverError):
    """More work than places; try again later."""

    code = "overloaded"


class Stopping(FpserverError):
    """The server is about to stop."""

    code = "stopping"


class StoreUnavailable(FpserverError):
    """Redis does not answer in time."""

    code = "store_unavailable"


class ForeignIndex(FpserverError):
    """The index in Redis was made by other settings."""

    code = "foreign_index"


class EmbeddedStoreMissing(FpserverError):
    """No embedded server for this platform."""

    code = "embedded_store_missing"


class ConfigInvalid(FpserverError):
    """A setting is unknown or breaks its rule."""

    code = "config_invalid"
