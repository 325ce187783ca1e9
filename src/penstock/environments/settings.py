"""The user's pip and uv settings: where packages come from.

uv reads its own settings and ignores pip's. Whoever has told pip about an index, a folder of wheels or a proxy
means Penstock too, so pip's settings are translated to uv's; what is said in uv's own words (UV_*) wins.
"""

from __future__ import annotations

import configparser
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from penstock.small import read_small

#: pip's options that are understood, by their names in pip.conf.
_OPTIONS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "no-index",
    "cert",
    "client-cert",
    "trusted-host",
    "timeout",
    "proxy",
)
_LISTS = ("extra-index-url", "find-links", "trusted-host")
#: Their variables in the same order, and last the other name of one.
_VARIABLES = (*("PIP_" + option.upper().replace("-", "_") for option in _OPTIONS), "PIP_DEFAULT_TIMEOUT")
#: The variables by which pip's files are found.
_PLACES = ("HOME", "XDG_CONFIG_DIRS", "XDG_CONFIG_HOME", "PIP_CONFIG_FILE")


def pip_settings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Pip's options as pip itself would find them: lists separated by a space, missing local folders left out.

    The order is pip's: the machine's file, the user's, PIP_CONFIG_FILE's, then PIP_* variables; the section
    `[install]` goes over `[global]` whatever file it stands in.
    """
    env = os.environ if environ is None else environ
    found = dict(_said(tuple(map(_text, _files(*map(env.get, _PLACES)))), tuple(map(env.get, _VARIABLES))))
    for option in ("index-url", *_LISTS):
        if option in found:
            found[option] = " ".join(one for one in found[option].split() if not _missing(one))
    return {option: text for option in _OPTIONS if (text := found.get(option, "").strip())}


def uv_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment for a uv process: little is inherited, so that no build backend sees a secret.

    With extra indexes, uv is told to do as pip does and take the best match over all of them, unless the user has
    decided on another UV_INDEX_STRATEGY; without them there is nothing to decide.
    """
    env = os.environ if environ is None else environ
    kept = {name: env[name] for name in env if _is_kept(name)}
    pip = pip_settings(env)
    translated: dict[str, str] = {}
    if "index-url" in pip and not env.get("UV_INDEX_URL"):
        translated["UV_DEFAULT_INDEX"] = pip["index-url"]
    if "extra-index-url" in pip and not env.get("UV_EXTRA_INDEX_URL"):
        translated["UV_INDEX"] = pip["extra-index-url"]
        translated["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if "find-links" in pip:
        translated["UV_FIND_LINKS"] = ",".join(pip["find-links"].split())
    if pip.get("no-index", "").lower() in {"1", "true", "yes", "on"}:
        translated["UV_NO_INDEX"] = "1"
    for option, names in _PLAIN.items():
        if option in pip:
            translated.update(dict.fromkeys(names, pip[option]))
    config = _uv_config(env)
    return {
        **translated,
        **kept,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "NO_COLOR": "1",
        **({"UV_CONFIG_FILE": config} if config else {"UV_NO_CONFIG": "1"}),
    }


def pip_environment(environ: Mapping[str, str] | None = None) -> tuple[dict[str, str], list[str]]:
    """PIP_* variables for a job, where the user's pip.conf can't be seen, and the local paths they speak of.

    The variables may hold passwords of indexes: they belong in a program's environment and nowhere else.
    """
    settings = pip_settings(environ)
    variables = {"PIP_" + option.upper().replace("-", "_"): value for option, value in settings.items()}
    variables.setdefault("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    locals_ = [
        path
        for option in ("index-url", "extra-index-url", "find-links", "cert", "client-cert")
        for one in settings.get(option, "").split()
        if (path := _local(one)) is not None
    ]
    return variables, list(dict.fromkeys(locals_))


def fingerprint(environ: Mapping[str, str] | None = None) -> str:
    """All settings that decide which packages are found, as a text to be hashed and never shown."""
    env = uv_environment(environ)
    names = (
        "UV_INDEX",
        "UV_DEFAULT",
        "UV_EXTRA",
        "UV_FIND",
        "UV_NO_INDEX",
        "UV_EXCLUDE",
        "UV_TORCH",
        "UV_OVERRIDE",
    )
    more = ("UV_CONSTRAINT", "UV_PRERELEASE", "UV_CONFIG_FILE", "UV_NO_BINARY", "UV_NO_BUILD")
    return "\n".join(f"{name}={env[name]}" for name in sorted(env) if name.startswith((*names, *more)))


#: What uv and the compilers it may start need. PYTHON* and the like would change what they find.
_INHERITED = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LC_\w+|TMPDIR|TZ|XDG_\w+|UV_\w+|SSL_\w+|NETRC|GIT_\w+|SSH_AUTH_SOCK|LD_LIBRARY_PATH"
    r"|(?i:https?_proxy|all_proxy|no_proxy)|CC|CXX|CFLAGS|CXXFLAGS|CPPFLAGS|LDFLAGS|PKG_CONFIG_PATH|MAKEFLAGS"
)
#: Settings that speak of another environment than the one being made.
_DROPPED = {
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_VENV_CLEAR",
    "UV_VENV_SEED",
    "UV_RESOLUTION",
    "UV_PROJECT",
    "UV_WORKING_DIR",
    "UV_PROJECT_ENVIRONMENT",
    "UV_REQUIRE_HASHES",
    "UV_NO_COLOR",
}
_PLAIN: Mapping[str, tuple[str, ...]] = {
    "cert": ("SSL_CERT_FILE",),
    "client-cert": ("SSL_CLIENT_CERT",),
    "trusted-host": ("UV_INSECURE_HOST",),
    "timeout": ("UV_HTTP_TIMEOUT",),
    "proxy": ("HTTP_PROXY", "HTTPS_PROXY"),
}


@lru_cache
def _files(home: str | None, dirs: str | None, config: str | None, given: str | None) -> tuple[str, ...]:
    """Where pip looks, by the values of `_PLACES`."""
    if given == os.devnull:
        return ()
    home = home or str(Path.home())
    machine = [f"{folder}/pip/pip.conf" for folder in (dirs or "/etc/xdg").split(":") if folder]
    user = config or f"{home}/.config"
    files = (*machine, "/etc/pip.conf", f"{home}/.pip/pip.conf", f"{user}/pip/pip.conf")
    return (*files, given) if given else files


def _text(path: str) -> str:
    """A file's content, for it may change from one run to the next; one that can't be read says nothing."""
    try:
        return read_small(path).decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return ""


@lru_cache
def _said(texts: tuple[str, ...], variables: tuple[str | None, ...]) -> Mapping[str, str]:
    """What pip's files say, and over it its variables."""
    found: dict[str, str] = {}
    read = [_sections(text) for text in texts]
    for section in ("global", "install"):
        for sections in read:
            found.update(sections.get(section, {}))
    *plain, other_timeout = variables
    for option, value in zip(_OPTIONS, plain, strict=True):
        chosen = other_timeout if value is None and option == "timeout" else value
        if chosen is not None:
            found[option] = chosen
    return found


@lru_cache
def _sections(text: str) -> Mapping[str, Mapping[str, str]]:
    """A file's sections with names as pip reads them; a file that can't be understood says nothing."""
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(text)
        return {
            section: {key.lower().replace("_", "-"): value for key, value in parser.items(section)}
            for section in parser.sections()
        }
    except configparser.Error:
        return {}


@lru_cache(maxsize=1024)
def _is_kept(name: str) -> bool:
    return _INHERITED.fullmatch(name) is not None and name not in _DROPPED


@lru_cache(maxsize=1024)
def _local(text: str) -> str | None:
    """The path that a URL or path speaks of, None when it is on the network."""
    if text.startswith("file:"):
        return unquote(urlsplit(text).path)
    return text if text.startswith("/") else None


def _missing(text: str) -> bool:
    path = _local(text)
    return path is not None and not os.path.exists(path)  # noqa: PTH110 - for speed, with each run


def _uv_config(env: Mapping[str, str]) -> str | None:
    """The user's own uv.toml. Named outright, so that no pyproject.toml of a job's source is taken for settings."""
    if env.get("UV_CONFIG_FILE"):
        return env["UV_CONFIG_FILE"]
    user = env.get("XDG_CONFIG_HOME") or f"{env.get('HOME') or Path.home()}/.config"
    places = (f"{user}/uv/uv.toml", "/etc/uv/uv.toml")
    return next((path for path in places if os.path.isfile(path)), None)  # noqa: PTH113 - as above
