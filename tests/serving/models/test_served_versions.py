"""The record of the versions that served is written anew where it is damaged."""

from __future__ import annotations

from pathlib import Path

import pytest

from configs.settings import Settings
from models.registry import Registry, Version
from serving.models.served_versions import ServedVersion, ServedVersions
from tests.shops.served_shop import register_model, run_shop

TEXTS = ["", "{", "[]", "\0\0", '{"demand": 3}', '{"demand": [{"x": 1}]}', '{"demand": [null]}']


@pytest.mark.parametrize("text", TEXTS)
def test_a_damaged_record_is_written_anew(tmp_path: Path, text: str) -> None:
    served = ServedVersions(tmp_path)
    version = ServedVersion.of(Version("demand", "2", "run", (), 1.0), tmp_path / "demand", "abc")
    served.add(version)
    assert served.read("demand") == [version]
    (tmp_path / "models" / "served.json").write_text(text)
    assert served.read("demand") == []
    served.add(version)
    assert served.read("demand") == [version]


def test_what_served_last_serves_where_the_registry_was_lost(
    tiny: Settings, tiny_home: Path
) -> None:
    (tiny.home / "mlflow.db").unlink()
    for shop in run_shop(tiny):
        ready = shop.client.get("/readyz").json()
        assert ready["models"].keys() == {"recommendations", "demand"}
        message = "the registry names no champion any more; version 1, which served last, serves"
        assert ready["degraded"]["demand"] == message
        slate = shop.client.post("/v1/recommendations", json={"placement": "home"})
        assert slate.status_code == 200

        # The new registry counts from 1 again: its first version is another one.
        registry = Registry(tiny.mlflow_url, tiny.home)
        register_model(registry, "demand", tiny_home / "artifacts" / "demand")
        registry.promote("demand", "1")
        shop.server.refresh()
        assert "demand" not in shop.client.get("/readyz").json()["degraded"]
