"""What `deploy/compose` must be, whatever it starts: settings that exist, bounds, pins, nothing open, no password."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic_settings import BaseSettings

from deploy.servers import compose as servers
from deploy.servers.catalogue import ENGINES
from deploy.servers.folder import ROOT, Folder
from feed_svc.settings import FeedSettings
from gateway.settings import GatewaySettings
from graph_svc.settings import GraphSettings
from launcher.compose import ALL
from media_svc.settings import MediaSettings
from rank_svc.settings import RankSettings
from svc_kit.settings import PlatformSettings
from tests.deploy import compose_yaml

FOLDER = ROOT / "deploy" / "compose"
ENGINES_FILE, INTERNAL, PLATFORM = (
    compose_yaml.load(FOLDER / name) for name in ("engines.yaml", "engines.internal.yaml", "compose.yaml")
)
SERVICES: Mapping[str, dict[str, Any]] = ENGINES_FILE["services"] | PLATFORM["services"]
CLASSES: tuple[type[BaseSettings], ...] = (
    *(PlatformSettings, GatewaySettings, GraphSettings, MediaSettings, RankSettings, FeedSettings),
)
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text()


def _settings() -> set[str]:
    return {f"{c.model_config.get('env_prefix', '')}{name}".upper() for c in CLASSES for name in c.model_fields}


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif isinstance(value, str):
        yield value


def _command() -> list[str]:
    """Compose, by whichever name it is there; skips saying so."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            asked = subprocess.run([*command, "version"], capture_output=True, text=True, check=False)
            # Version 1 knows neither `include` nor `!reset`.
            if asked.returncode == 0 and re.search(r"v?([2-9]|\d\d)\.\d+\.\d+", asked.stdout):
                return command
    pytest.skip("no Docker Compose 2 here: the files are read by these tests alone")


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_has_a_pinned_image_a_bound_of_memory_and_a_healthcheck(name: str) -> None:
    service = SERVICES[name]
    _, _, tag = service["image"].rpartition(":")
    assert re.search(r"\d", tag), service["image"]
    assert "latest" not in service["image"]
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    check = service["healthcheck"]
    assert check.get("test") or (check.get("disable") and service["restart"] == "no")
    assert "no-new-privileges:true" in service["security_opt"]


@pytest.mark.parametrize("name", PLATFORM["services"])
def test_what_is_ours_can_not_write_to_its_image_and_has_no_capability(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "privileged" not in service
    assert "cap_add" not in service
    assert "user" not in service, "the image's own is no root"


def test_every_role_is_served_and_by_an_image_that_is_built_here() -> None:
    served = {name: service["command"] for name, service in PLATFORM["services"].items() if "command" in service}
    assert {name for name, command in served.items() if command == ["serve", name]} == ALL
    targets = {service["build"]["target"] for service in PLATFORM["services"].values() if "build" in service}
    built = {f"reelgraph/{target}" for target in targets}
    assert built == {service["image"].partition(":")[0] for name, service in SERVICES.items() if name in served}
    assert targets == set(re.findall(r"^FROM base AS (\w+)$", DOCKERFILE, re.MULTILINE))


@pytest.mark.parametrize("name", sorted(ALL | {"migrate"}))
def test_each_variable_of_ours_is_a_setting(name: str) -> None:
    given = {variable for variable in SERVICES[name]["environment"] if variable.startswith("REELGRAPH_")}
    assert given
    assert not given - _settings()


def test_a_gateway_holds_no_password_of_a_store_of_truth() -> None:
    text = " ".join(_texts(SERVICES["gateway"]["environment"]))
    assert not re.search("POSTGRES|NEO4J|CASSANDRA|S3_ACCESS|S3_SECRET|MEILISEARCH", text)


def test_engines_are_published_on_loopback_alone_and_not_at_all_for_the_platform() -> None:
    for name, service in ENGINES_FILE["services"].items():
        assert service["ports"], name
        assert all(port.startswith("127.0.0.1:${REELGRAPH_PORT_") for port in service["ports"]), name
        assert INTERNAL["services"][name]["ports"] == [], name
    assert [name for name, service in PLATFORM["services"].items() if "ports" in service] == ["front"]
    assert all(port.startswith("${REELGRAPH_LISTEN:-127.0.0.1}:") for port in SERVICES["front"]["ports"])
    assert all(network["internal"] for network in INTERNAL["networks"].values())
    assert "engines" not in SERVICES["front"]["networks"]


def test_no_password_is_written_down_and_none_is_empty() -> None:
    for text in [*_texts(ENGINES_FILE), *_texts(INTERNAL), *_texts(PLATFORM)]:
        for variable in re.findall(r"\$\{(REELGRAPH_(?:SECRET|SERVICE_TOKEN)[^}]*)\}", text):
            assert variable.endswith(":?")
        # After a name that says password there is a variable, of Compose's or of a script's.
        for value in re.findall(
            r"(?i)(?:requirepass|masterauth|password *=|://[\w-]*:(?=[^\s/]*@))\s*['\"]?([^\s'\"/]+)", text
        ):
            assert value.startswith("$"), text


def test_the_example_has_every_variable_that_compose_insists_on_and_no_secret() -> None:
    lines = [line for line in (FOLDER / ".env.example").read_text().splitlines() if line and line[0] != "#"]
    example = dict(line.split("=", 1) for line in lines)
    wanted = {v for file in (ENGINES_FILE, PLATFORM) for t in _texts(file) for v in re.findall(r"\$\{(\w+):\?", t)}
    assert wanted <= example.keys()
    secrets = {name for name in example if re.match("REELGRAPH_(SECRET|SERVICE_TOKEN)", name)}
    assert not any(example[name] for name in secrets)
    assert all(example[name] for name in wanted - secrets)


def test_new_env_fills_in_every_secret_differently_and_never_overwrites(tmp_path: Path) -> None:
    for name in (".env.example", "new-env"):
        shutil.copy(FOLDER / name, tmp_path)
    assert subprocess.run([tmp_path / "new-env"], check=False).returncode == 0
    made = tmp_path / ".env"
    found = dict(line.split("=", 1) for line in made.read_text().splitlines() if line and line[0] != "#")
    secrets = [value for name, value in found.items() if re.match("REELGRAPH_(SECRET|SERVICE_TOKEN)", name)]
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in secrets)
    assert len(set(secrets)) == len(secrets)
    assert made.stat().st_mode & 0o777 == 0o600
    before = made.read_text()
    assert subprocess.run([tmp_path / "new-env"], capture_output=True, check=False).returncode == 1
    assert made.read_text() == before


def test_engines_need_no_more_than_make_servers_tells(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.choose_ports({name: port for engine in ENGINES.values() for name, port in engine.PORTS.items()})
    told = {line.partition("=")[0] for line in servers.environment(folder, list(ENGINES.values())).splitlines()}
    for text in _texts(ENGINES_FILE):
        assert set(re.findall(r"\$\{(\w+):\?", text)) <= told
        assert set(re.findall(r"\$\{(REELGRAPH_PORT_\w+)", text)) <= told
    # Proxies of faults stand on the machine itself, where what they cut is published.
    assert ENGINES.keys() - ENGINES_FILE["services"].keys() == {"toxiproxy"}


def test_parts_and_playback_go_to_media_and_inner_pages_nowhere() -> None:
    front = (FOLDER / "front.conf").read_text()
    routes = (ROOT / "media_svc/delivery/routes.py").read_text() + (
        ROOT / "media_svc/uploads/part_routes.py"
    ).read_text()
    letters = set(re.findall(r'Route\("/(\w)/', routes))
    found = re.search(r"location ~ \^/\[(\w+)\]/ \{\s+proxy_pass http://media;", front)
    assert found is not None
    assert set(found[1]) == letters
    assert re.search(r"location ~ \^/\(metrics\|readyz\|healthz\)\$ \{\s+return 404;", front)


@pytest.mark.parametrize("file", ["engines.yaml", "compose.yaml"])
def test_compose_itself_understands_the_file(file: str, tmp_path: Path) -> None:
    command = _command()
    place = shutil.copytree(FOLDER, tmp_path / "deploy" / "compose", ignore=shutil.ignore_patterns(".env"))
    subprocess.run([place / "new-env"], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REELGRAPH_")}
    asked = subprocess.run(
        [*command, "--file", str(place / file), "--profile", "*", "config", "--quiet"],
        capture_output=True,
        text=True,
        env=kept,
        check=False,
    )
    assert asked.returncode == 0, asked.stderr


def test_images_run_as_nobody_in_particular_and_say_how_they_are() -> None:
    final = DOCKERFILE[DOCKERFILE.index("FROM ${PYTHON} AS base") :]
    assert re.search(r"^USER 10001:10001$", final, re.MULTILINE)
    for line in ('ENTRYPOINT ["reelgraph"]', "STOPSIGNAL SIGTERM", "VOLUME /data", "HEALTHCHECK"):
        assert f"\n{line}" in final
    assert "apt-get" not in final, "no compiler, nothing installed beside Python"
    assert "--require-hashes" in DOCKERFILE
    for base in re.findall(r"^ARG PYTHON=(.+)$", DOCKERFILE, re.MULTILINE):
        assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base)


def test_no_secret_of_a_checkout_is_sent_to_the_builder() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", ".venv", ".servers", ".demo", "**/.env"} <= set(ignored)
