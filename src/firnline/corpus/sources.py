"""Every kind of source."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from firnline.corpus.archives import ArchiveSource
from firnline.corpus.directory import DirectorySource
from firnline.corpus.git import GitSource
from firnline.corpus.python import PythonSource
from firnline.corpus.tables import TableSource

Source = Annotated[
    DirectorySource | GitSource | PythonSource | ArchiveSource | TableSource,
    Field(discriminator="kind"),
]
