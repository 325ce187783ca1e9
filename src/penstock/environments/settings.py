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


def pip_settings(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Pip's options as pip itself would find them: lists separated by a space, missing local folders left out.

    The order is pip's: the machine's file, the user's, PIP_CONFIG_FILE's, then PIP_* variables; the section
    `[install]` goes over `[global]` whatever file it stands in.
    """
    env = os.environ if environ is None else environ
    found: dict[str, str] = {}
    files = [] if env.get("PIP_CONFIG_FILE") == os.devnull else _files(env)
    read = [_sections(path) for path in files]
    for section in ("global", "install"):
        for sections in read:
            found.update(sections.get(section, {}))
    for option in _OPTIONS:
        value = env.get("PIP_" + option.upper().replace("-", "_"))
        if value is None and option == "timeout":
            value = env.get("PIP_DEFAULT_TIMEOUT")
        if value is not None:
            found[option] = value
    for option in ("index-url", *_LISTS):
        if option in found:
            found[option] = " ".join(one for one in found[option].split() if not _missing(one))
    return {option: found[option].strip() for option in _OPTIONS if found.get(option, "").strip()}


def uv_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """The whole environment for a uv process: little is inherited, so that no build backend sees a secret.

    With extra indexes, uv is told to do as pip does and take the best match over all of them, unless the user has
    decided on another UV_INDEX_STRATEGY; without them there is nothing to decide.
    """
    env = os.environ if environ is None else environ
    kept = {name: value for name, value in env.items() if _INHERITED.fullmatch(name) and name not in _DROPPED}
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


def _files(env: Mapping[str, str]) -> list[Path]:
    home = Path(env.get("HOME") or Path.home())
    machine = [
        Path(folder) / "pip" for folder in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":") if folder
    ]
    user = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    files = [*(folder / "pip.conf" for folder in machine), Path("/etc/pip.conf")]
    files += [home / ".pip/pip.conf", user / "pip/pip.conf"]
    if env.get("PIP_CONFIG_FILE"):
        files.append(Path(env["PIP_CONFIG_FILE"]))
    return files


def _sections(path: Path) -> dict[str, dict[str, str]]:
    """A file's sections with names as pip reads them; a file that can't be read says nothing."""
    try:
        return _parsed(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, configparser.Error):
        return {}


@lru_cache
def _parsed(text: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    return {
        section: {key.lower().replace("_", "-"): value for key, value in parser.items(section)}
        for section in parser.sections()
    }


def _local(text: str) -> str | None:
    """The path that a URL or path speaks of, None when it is on the network."""
    if text.startswith("file:"):
        return unquote(urlsplit(text).path)
    return text if text.startswith("/") else None


def _missing(text: str) -> bool:
    path = _local(text)
    return path is not None and not Path(path).exists()


def _uv_config(env: Mapping[str, str]) -> str | None:
    """The user's own uv.toml. Named outright, so that no pyproject.toml of a job's source is taken for settings."""
    if env.get("UV_CONFIG_FILE"):
        return env["UV_CONFIG_FILE"]
    user = Path(env.get("XDG_CONFIG_HOME") or Path(env.get("HOME") or Path.home()) / ".config") / "uv/uv.toml"
    return next((str(path) for path in (user, Path("/etc/uv/uv.toml")) if path.is_file()), None)
