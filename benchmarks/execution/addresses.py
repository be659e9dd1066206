"""Addresses of MLflow stores, shown and kept without the passwords in them."""

from __future__ import annotations

import os
import re
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from results.visible import visible

HIDDEN = "***"

_OPEN = ("sslmode", "charset", "driver", "uri", "mode")
"""Parts of a query whose values are no secrets; every other value is hidden."""

_SECRETS = ("MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "DATABRICKS_TOKEN", "PGPASSWORD", "MYSQL_PWD",
            "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AZURE_STORAGE_ACCESS_KEY",
            "AZURE_STORAGE_CONNECTION_STRING")  # fmt: skip
"""Variables of the environment from which MLflow and what it uses take passwords."""

_LEAST = 3  # characters of a secret that is looked for in texts: a shorter one stands in every word

_ADDRESS = re.compile(r"[A-Za-z][\w+.-]*://[^\s'\"<>]+")


def shown(uri: str) -> str:
    """``uri`` as it may be printed and written: user, password and the values of its query stand as ``***``.

    Every message, file, tag and log has an address in this form only, and two addresses are the same store where these
    forms are equal.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        return visible(uri)
    user, place = _split(rest)
    path, mark, query = place.partition("?")
    query, hash_mark, fragment = query.partition("#")
    query = re.sub(r"([^&;=]+)=([^&;]*)", lambda m: f"{m[1]}={m[2] if m[1].lower() in _OPEN else HIDDEN}", query)
    if query and "=" not in query:
        query = HIDDEN
    fragment = HIDDEN if fragment else ""
    return visible(f"{scheme}://{HIDDEN + '@' if user else ''}{path}{mark}{query}{hash_mark}{fragment}")


def _split(rest: str) -> tuple[str, str]:
    """User and password, and what stands behind their ``@``.

    People forget to encode what a password has of ``@/?#``, so it may reach as far as the last ``@``.
    """
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    port_is_none = ":" in authority and not re.fullmatch(r"\[[^]]*\](:\d*)?|[^:]*:\d*", authority)
    if "@" not in authority and not (port_is_none and "@" in rest):
        return "", rest
    end = rest.rindex("@")
    return rest[:end], rest[end + 1 :]


def hidden(text: object, uri: str = "") -> str:
    """``text`` (of an error, say) without the secrets of ``uri``, of any other address and of the environment."""
    safe = str(text)
    for secret in sorted(_secrets(uri), key=len, reverse=True):
        safe = safe.replace(secret, HIDDEN)
    return visible(_ADDRESS.sub(lambda found: shown(found[0]), safe), lines=True)


def _secrets(uri: str) -> set[str]:
    """All secrets, in the forms in which libraries may tell them: encoded, decoded, cut at what separates addresses."""
    user, place = _split(uri.partition("://")[2])
    name, _, password = user.partition(":")
    found = {password or name, *(os.environ.get(variable, "") for variable in _SECRETS)}
    query = re.findall(r"([^&;=?]+)=([^&;]*)", place.partition("?")[2])
    found |= {value for key, value in query if key.lower() not in _OPEN}
    found |= {form(secret) for secret in found for form in (unquote, unquote_plus)}
    found |= {piece for secret in found for piece in re.split("[@/?#:;=&,]", secret)}
    found |= {form(secret) for secret in found for form in (quote, quote_plus)}
    return {secret for secret in found if len(secret) >= _LEAST}


def reason(error: BaseException, uri: str = "") -> str:
    """Type and first line of an error, without secrets."""
    first = next(iter(hidden(error, uri).splitlines()), "")
    return f"{type(error).__name__}: {first[:200]}" if first else type(error).__name__
