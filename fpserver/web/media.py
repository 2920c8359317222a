"""The media types spoken here."""

JSON = "application/json"
MSGPACK = "application/msgpack"
NDJSON = "application/x-ndjson"
FINGERPRINT = "application/vnd.fpserver.fingerprint+msgpack"
FORM = "multipart/form-data"
EVENTS = "text/event-stream"
