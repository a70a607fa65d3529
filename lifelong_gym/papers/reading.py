"""From a paper's folder to what it says, checked from end to end before anything runs."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from lifelong_gym.papers.code import Code
from lifelong_gym.papers.schema import Known, PaperError, told
from lifelong_gym.papers.specs import PaperSpec

FILE = "paper.toml"


def read_paper(folder: Path) -> PaperSpec:
    """What a folder says.

    Raises:
        PaperError: the message begins with the key.
    """
    path = folder / FILE
    if not path.is_file():
        raise PaperError(f"a paper is a folder with a {FILE}. There is none at {path}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # bytes that aren't UTF-8, too
        raise PaperError(f"{path} is not TOML: {error}") from None
    try:
        return PaperSpec.model_validate(content, context=Known(Code(str(folder.resolve()))))
    except ValidationError as error:
        raise told(error, content) from error
