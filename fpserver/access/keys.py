"""Every key of the store that the room has; their hash tag lets one function touch them together.

| key | type | holds |
|---|---|---|
| `…:key:<id>` | hash | name, scopes, created_at, used_at, revoked_at, digest, old_digest, old_until, own limits |
| `…:keys` | sorted set | ids of all keys, revoked ones too → when they were made |
| `…:rate:<id>` | string | when the key will have its whole burst again, ms since 1970; expires then |
| `…:day:<id>:<day>` | string | requests of a day (days since 1970, UTC); expires after it |
"""

ROOT = "fp:{access}"
KEYS = f"{ROOT}:keys"


def record(key_id: str) -> str:
    """What is known of a key."""
    return f"{ROOT}:key:{key_id}"
