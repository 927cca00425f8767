"""Every kind of source."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from firnline.corpus.archives import ArchiveSource
from firnline.corpus.commits import CommitsSource
from firnline.corpus.directory import DirectorySource
from firnline.corpus.git import GitSource
from firnline.corpus.issues import IssuesSource
from firnline.corpus.python import PythonSource
from firnline.corpus.questions import QuestionsSource
from firnline.corpus.tables import TableSource

Source = Annotated[
    DirectorySource
    | GitSource
    | PythonSource
    | ArchiveSource
    | TableSource
    | CommitsSource
    | IssuesSource
    | QuestionsSource,
    Field(discriminator="kind"),
]
