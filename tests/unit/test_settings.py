"""Settings come from the environment once, and credentials never travel in the clear or to a stranger."""

from __future__ import annotations

from pathlib import Path

import pytest

from headgate.errors import InvalidRequest
from headgate.settings import Settings


def test_defaults() -> None:
    """With nothing set: Google's address, the user's own folders, no stranger."""
    settings = Settings.from_environ({"HOME": "/home/ada"}, platform="linux")
    assert settings.sheets_url == "https://sheets.googleapis.com"
    assert settings.credentials is None
    assert settings.store == "/home/ada/.local/share/headgate/store"
    assert settings.cache_dir == Path("/home/ada/.cache/headgate")
    assert not settings.allow_foreign_host


@pytest.mark.parametrize(
    ("platform", "environ", "store"),
    [
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/headgate/store"),
        ("linux", {"XDG_DATA_HOME": "relative"}, "/home/ada/.local/share/headgate/store"),
        ("darwin", {}, "/home/ada/Library/Application Support/headgate/store"),
        ("linux", {"HEADGATE_STORE": "s3://bucket/x"}, "s3://bucket/x"),
        ("linux", {"HEADGATE_STORE": ""}, "/home/ada/.local/share/headgate/store"),
    ],
)
def test_where_the_store_is(platform: str, environ: dict[str, str], store: str) -> None:
    """HEADGATE_STORE decides; without it, the platform's folder for a user's own files."""
    assert Settings.from_environ({"HOME": "/home/ada", **environ}, platform=platform).store == store


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8080",
        "http://127.0.0.1:1",
        "http://[::1]:80/",
        "https://europe-sheets.googleapis.com",
        "http://api.localhost:3",
    ],
)
def test_google_and_this_machine_are_fine(url: str) -> None:
    """Only this machine may be spoken to without TLS."""
    assert Settings.from_environ({"HEADGATE_SHEETS_URL": url}).sheets_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://sheets.googleapis.com", "must start with https"),
        ("http://10.0.0.1", "must start with https"),
        ("http://127.0.0.1.example.com", "must start with https"),
        ("https://a:secret@sheets.googleapis.com", "an address alone"),
        ("https://sheets.googleapis.com?key=secret", "an address alone"),
        ("ftp://localhost", "must start with http"),
        ("sheets.googleapis.com", "is not an address"),
        ("https://", "is not an address"),
        ("https://host:99999", "is not an address"),
        ("https://[", "is not an address"),
    ],
)
def test_an_address_that_would_leak_is_refused(url: str, why: str) -> None:
    """The sentence says what to write, and repeats no secret."""
    with pytest.raises(InvalidRequest, match=why) as caught:
        Settings.from_environ({"HEADGATE_SHEETS_URL": url})
    assert "secret" not in str(caught.value)


def test_no_stranger_is_spoken_to_in_the_clear() -> None:
    """Which credentials a foreign host may get is another question than that of TLS."""
    environ = {"HEADGATE_ALLOW_FOREIGN_HOST": "1", "HEADGATE_SHEETS_URL": "https://emulator.example"}
    assert Settings.from_environ(environ).sheets_url == "https://emulator.example"
    with pytest.raises(InvalidRequest, match="https"):
        Settings.from_environ({**environ, "HEADGATE_SHEETS_URL": "http://emulator.example"})
    with pytest.raises(InvalidRequest, match="set it to 1 or 0"):
        Settings.from_environ({"HEADGATE_ALLOW_FOREIGN_HOST": "perhaps"})


def test_nothing_secret_shows() -> None:
    """A repr names neither the credentials nor the store, whose URL may carry a signature."""
    shown = repr(
        Settings.from_environ({"HEADGATE_CREDENTIALS": "/keys/secret.json", "HEADGATE_STORE": "az://x/y?sig=secret"})
    )
    assert "secret" not in shown


WEBHOOK = {"HEADGATE_ALERT_WEBHOOK": "https://hooks.example/x", "HEADGATE_ALERT_KEY_FILE": "/keys/alerts-2030.key"}


def test_nobody_is_told_and_nothing_is_served_by_default() -> None:
    """Also where the key is there already and only the webhook is not."""
    settings = Settings.from_environ({"HEADGATE_ALERT_KEY_FILE": "/keys/k", "HEADGATE_ALERT_WEBHOOK": ""})
    assert settings.alert_webhook is None
    assert settings.metrics_bound_to(0) is None


def test_a_webhook_and_its_key() -> None:
    """The key is named after its file unless it is given a name."""
    webhook = Settings.from_environ(WEBHOOK).alert_webhook
    assert webhook is not None
    assert (webhook.url, webhook.key_file) == ("https://hooks.example/x", Path("/keys/alerts-2030.key"))
    assert (webhook.key_name, webhook.loopback) == ("alerts-2030", False)
    named = Settings.from_environ({**WEBHOOK, "HEADGATE_ALERT_KEY_NAME": "k1"}).alert_webhook
    assert named is not None
    assert named.key_name == "k1"


def test_a_webhook_on_this_machine_is_for_tests() -> None:
    local = {**WEBHOOK, "HEADGATE_ALERT_WEBHOOK": "http://127.0.0.1:9/x"}
    with pytest.raises(InvalidRequest, match="HEADGATE_ALERT_LOOPBACK=1"):
        Settings.from_environ(local)
    webhook = Settings.from_environ({**local, "HEADGATE_ALERT_LOOPBACK": "1"}).alert_webhook
    assert webhook is not None
    assert webhook.loopback


@pytest.mark.parametrize(
    ("environ", "why"),
    [
        ({"HEADGATE_ALERT_KEY_FILE": ""}, "name its file with HEADGATE_ALERT_KEY_FILE"),
        ({"HEADGATE_ALERT_KEY_FILE": "/keys/a b.key"}, "HEADGATE_ALERT_KEY_NAME must be"),
        ({"HEADGATE_ALERT_KEY_NAME": "a\nb"}, "HEADGATE_ALERT_KEY_NAME must be"),
        ({"HEADGATE_ALERT_KEY_NAME": "x" * 129}, "HEADGATE_ALERT_KEY_NAME must be"),
        ({"HEADGATE_ALERT_WEBHOOK": "http://hooks.example/secret"}, "must start with https://"),
        ({"HEADGATE_ALERT_WEBHOOK": "https://ana:secret@hooks.example"}, "take them out"),
        ({"HEADGATE_ALERT_WEBHOOK": "hooks.example/secret"}, "HEADGATE_ALERT_WEBHOOK is not an address"),
        ({"HEADGATE_ALERT_LOOPBACK": "perhaps"}, "set it to 1 or 0"),
        ({"HEADGATE_METRICS_PORT": "high"}, "set it to a port from 1 to 65533"),
        ({"HEADGATE_METRICS_PORT": "65534"}, "set it to a port from 1 to 65533"),
        ({"HEADGATE_METRICS_PORT": "0"}, "set it to a port from 1 to 65533"),
        ({"HEADGATE_METRICS_PORT": "-1"}, "set it to a port from 1 to 65533"),
        ({"HEADGATE_METRICS_PORT": "²"}, "set it to a port from 1 to 65533"),
        ({"HEADGATE_METRICS_ADDRESS": "localhost"}, "set it to an IP address"),
    ],
)
def test_a_wrong_setting_says_what_to_do(environ: dict[str, str], why: str) -> None:
    with pytest.raises(InvalidRequest, match=why) as caught:
        Settings.from_environ({**WEBHOOK, **environ})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "bound_to"),
    [("", "127.0.0.1:9464"), ("0.0.0.0", "0.0.0.0:9464"), ("::1", "[::1]:9464")],
)
def test_each_process_serves_its_metrics_on_a_port_of_its_own(address: str, bound_to: str) -> None:
    """On this machine unless another address is named; the first port is that of the workflows."""
    settings = Settings.from_environ({"HEADGATE_METRICS_PORT": "9464", "HEADGATE_METRICS_ADDRESS": address})
    assert settings.metrics_bound_to(0) == bound_to
    assert settings.metrics_bound_to(2) == bound_to.replace("9464", "9466")


def test_a_webhooks_address_does_not_show() -> None:
    """Many a receiver's address holds a token of its own."""
    shown = repr(Settings.from_environ({**WEBHOOK, "HEADGATE_ALERT_WEBHOOK": "https://hooks.example/secret?t=secret"}))
    assert "secret" not in shown
    assert "hooks.example" not in shown
    assert "/keys" not in shown


def test_the_keys_of_receivers() -> None:
    """Without a folder there are none; a receiver on this machine is for tests."""
    notify = Settings.from_environ({}).notify
    assert (notify.keys, notify.loopback) == (None, False)
    settings = Settings.from_environ({"HEADGATE_NOTIFY_KEYS": "/keys", "HEADGATE_NOTIFY_LOOPBACK": "1"})
    assert (settings.notify.keys, settings.notify.loopback) == (Path("/keys"), True)
    assert "/keys" not in repr(settings)
    with pytest.raises(InvalidRequest, match="HEADGATE_NOTIFY_LOOPBACK is 'perhaps'"):
        Settings.from_environ({"HEADGATE_NOTIFY_LOOPBACK": "perhaps"})
