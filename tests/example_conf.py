"""A small valid configuration (`example/conf`), and how a test spoils one place of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from varve.config import load
from varve.model.errors import ConfigError

EXAMPLE: Final = Path(__file__).parent / "example" / "conf"
WHOLE: Final = "(the whole file)"

SHOP, CORE, LOCAL, DAILY = "sources/shop.yml", "sources/core.yml", "local.yml", "jobs/daily.yml"
CLAIM, SHOP_CLAIM = "contracts/claim.odcs.yaml", "contracts/shop_claim.odcs.yaml"

Edit = Callable[..., Path]


def case(rule: str, file: str, line: int, old: str, new: str, message: str) -> Any:
    """`old` in `file` becomes `new`: expected is one error at that line. ` … ` in the message stands for anything."""
    return pytest.param(file, line, old, new, message, id=rule)


def edited(folder: Path, file: str = "", old: str = "", new: str = "") -> Path:
    """A copy of the example below `folder`, with `old` in `file` replaced by `new`; the path of its conf."""
    conf = folder / "conf"
    if not conf.exists():
        shutil.copytree(EXAMPLE, conf)
    if file:
        path = conf / file
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        assert old in (WHOLE, "") or old in text, f"{old!r} is not in {file}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(new if old in (WHOLE, "") else text.replace(old, new, 1), encoding="utf-8")
    return conf


def errors(conf: Path, *, env: str = "local") -> list[str]:
    """What loading reports, one text per error."""
    with pytest.raises(ConfigError) as caught:
        load(conf, env=env)
    assert caught.value.exit_code == 2
    return [str(error) for error in caught.value.errors]


def assert_one_error(conf: Path, file: str, line: int, message: str) -> None:
    """Loading reports exactly that, at that place."""
    pattern = ".*".join(re.escape(part) for part in message.split(" … "))
    found = errors(conf)
    assert len(found) == 1, found
    assert re.fullmatch(f"{re.escape(f'conf/{file}:{line}: ')}{pattern}", found[0]), found[0]
