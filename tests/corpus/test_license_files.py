"""Licenses of repositories: texts, names, manifests, and what they say together."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firnline.corpus.license_names import from_name
from firnline.corpus.license_texts import from_text
from firnline.corpus.licenses import (
    from_header,
    from_metadata,
    is_license_file,
    of_repository,
    tells,
)
from firnline.licenses import canonical, ids, permissive

MIT = """Copyright (c) 2024 A. Person
Permission is hereby granted, free of charge, to any person obtaining a copy of this software
and associated documentation files, to deal in the Software without restriction, including the
rights to use, copy, and to permit persons to whom the Software is furnished to do so, subject to
the following conditions: The above copyright notice and this permission notice shall be included
in all copies or substantial portions of the Software. THE SOFTWARE IS PROVIDED "AS IS"."""
BSD_2 = """Redistribution and use in source and binary forms, with or without modification, are
permitted provided that: 1. Redistributions of source code must retain the above notice.
2. Redistributions in binary form must reproduce the above copyright notice."""
BSD_3 = (
    BSD_2 + "\n3. Neither the name may be used to endorse or promote products derived from this."
)
APACHE = "                Apache License\n          Version 2.0, January 2004\n"
GPL_3 = (
    "GNU GENERAL PUBLIC LICENSE\n  Version 3, 29 June 2007\n ... either version 3 of the License,"
)
LGPL_3 = (
    "GNU LESSER GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007\n version 3 of the GNU General"
)
GPL_2_NOTICE = """This program is free software; you can redistribute it and/or modify it under the
 * terms of the GNU General Public License as published by the Free Software Foundation; either
 * version 2 of the License, or (at your option) any later version."""


@pytest.mark.parametrize(
    ("text", "spdx"),
    [
        (MIT, "MIT"),
        (MIT.replace("above copyright notice and this permission", ""), "MIT-0"),
        (MIT + "\nExcept as contained in this notice, the name of", "X11"),
        (BSD_2, "BSD-2-Clause"),
        (BSD_3, "BSD-3-Clause"),
        (BSD_3 + "All advertising materials mentioning features or use", "BSD-4-Clause"),
        (APACHE, "Apache-2.0"),
        (GPL_3, "GPL-3.0-only"),
        (LGPL_3, "LGPL-3.0-only"),
        (GPL_2_NOTICE, "GPL-2.0-or-later"),
        ("Creative Commons Attribution-ShareAlike 4.0 International", "CC-BY-SA-4.0"),
        ("Attribution-NonCommercial-NoDerivatives 4.0 International", "CC-BY-NC-ND-4.0"),
        ("# PolyForm Noncommercial License 1.0.0", "PolyForm-Noncommercial-1.0.0"),
        ("Business Source License 1.1", "BUSL-1.1"),
        ("Server Side Public License", "SSPL-1.0"),
        ("Elastic License 2.0", "Elastic-2.0"),
        ("DO WHAT THE FUCK YOU WANT TO PUBLIC LICENSE", "WTFPL"),
        ("SIL OPEN FONT LICENSE Version 1.1", "OFL-1.1"),
        ("Commons Clause License Condition v1.0\n" + MIT, "LicenseRef-Commons-Clause"),
        ("SPDX-License-Identifier: Apache-2.0 OR MIT\n" + GPL_3, "Apache-2.0 OR MIT"),
        (BSD_3 + "\n\nBundled: libgfortran\n" + GPL_3, "BSD-3-Clause"),  # the first is meant
        (MIT + '\n"Commons Clause" License Condition v1.0\n', "LicenseRef-Commons-Clause"),
        ("For non-commercial use only.\n" + MIT, "LicenseRef-NonCommercial"),
        ("CC BY-NC 4.0: for NonCommercial purposes only", "CC-BY-NC-4.0"),
        ("All rights reserved.", None),
        ("", None),
    ],
)
def test_texts(text: str, spdx: str | None) -> None:
    assert from_text(text) == spdx


@pytest.mark.parametrize(
    ("name", "spdx"),
    [
        ("MIT", "MIT"),
        ("The MIT License", "MIT"),
        ("Expat", "MIT"),
        ("Apache License, Version 2.0", "Apache-2.0"),
        ("Apache 2", "Apache-2.0"),
        ("Apache Software License - Version 2.0", "Apache-2.0"),
        ("Eclipse Public License - v 2.0", "EPL-2.0"),
        ("MIT/Apache-2.0", "MIT OR Apache-2.0"),
        ("GPL-2+ or Artistic", "GPL-2.0-or-later OR Artistic-1.0"),
        ("LGPL-2.1+ and BSD-3-clause", "LGPL-2.1-or-later AND BSD-3-Clause"),
        ("GNU General Public License v3 or later", "GPL-3.0-or-later"),
        ("GPLv2", "GPL-2.0-only"),
        ("New BSD", "BSD-3-Clause"),
        ("CC-BY-SA-3.0", "CC-BY-SA-3.0"),
        ("(MIT OR Apache-2.0) AND Unicode-3.0", "(MIT OR Apache-2.0) AND Unicode-3.0"),
        ("public-domain", "LicenseRef-Public-Domain"),
        ("SEE LICENSE IN LICENSE.md", None),
        ("mine", None),
    ],
)
def test_names(name: str, spdx: str | None) -> None:
    assert from_name(name) == spdx


@pytest.mark.parametrize(
    ("files", "spdx"),
    [
        ({"LICENSE": MIT}, "MIT"),
        ({"LICENSE-MIT": MIT, "LICENSE-APACHE": APACHE}, "Apache-2.0 OR MIT"),
        ({"LICENSE.APACHE": APACHE, "LICENSE.BSD": BSD_2}, "Apache-2.0 OR BSD-2-Clause"),
        ({"COPYING": GPL_3, "COPYING.LESSER": LGPL_3}, "LGPL-3.0-only"),
        ({"LICENSE": MIT, "COPYING": GPL_3}, "GPL-3.0-only AND MIT"),
        ({"LICENSE": MIT, "LICENSE-3rdparty.txt": GPL_3}, "MIT"),
        ({"LICENSE": MIT, "package.json": '{"license": "MIT"}'}, "MIT"),
        ({"LICENSE": GPL_3, "package.json": '{"license": "ISC"}'}, "ISC AND GPL-3.0-only"),
        ({"LICENSE": GPL_3, "PKG-INFO": "License: GPLv3+\n"}, "GPL-3.0-or-later"),
        (
            {"LICENSE": BSD_2, "setup.py": "setup(\n    license='BSD',\n)"},
            "BSD-2-Clause",
        ),
        ({"Cargo.toml": '[package]\nlicense = "MIT/Apache-2.0"\n'}, "MIT OR Apache-2.0"),
        ({"pyproject.toml": '[project]\nlicense = {text = "MIT License"}\n'}, "MIT"),
        ({"pyproject.toml": '[project]\nlicense = "Apache-2.0"\n'}, "Apache-2.0"),
        ({"pyproject.toml": '[project]\nlicense = {file = "LICENSE"}\n', "LICENSE": MIT}, "MIT"),
        ({"setup.cfg": "[metadata]\nlicense = MPL 2.0\n"}, "MPL-2.0"),
        (
            {"a.gemspec": 'Gem::Specification.new do |s|\n  s.licenses = ["MIT", "Ruby"]\n'},
            "MIT OR Ruby",
        ),
        (
            {
                "pom.xml": "<licenses><license>\n<name>Apache License, Version 2.0</name>\n"
                "</license></licenses>"
            },
            "Apache-2.0",
        ),
        (
            {"composer.json": '{"license": ["LGPL-2.1-only", "GPL-3.0-or-later"]}'},
            "LGPL-2.1-only OR GPL-3.0-or-later",
        ),
        (
            {"package.json": '{"licenses": [{"type": "MIT"}, {"type": "GPL-2.0"}]}'},
            "MIT OR GPL-2.0-only",
        ),
        ({"package.json": '{"license": "UNLICENSED"}'}, "LicenseRef-Proprietary"),
        ({"package.json": '\ufeff{"license": "GPL-3.0-only"}'}, "GPL-3.0-only"),
        ({"pyproject.toml": '[tool.poetry]\nlicense = "GPL-3.0-or-later"\n'}, "GPL-3.0-or-later"),
        ({"pyproject.toml": '[tool.flit.metadata]\nlicense = "MPL-2.0"\n'}, "MPL-2.0"),
        ({"Cargo.toml": '[workspace.package]\nlicense = "MPL-2.0"\n'}, "MPL-2.0"),
        (
            {"Cargo.toml": '[package]\nlicense.workspace=true\n[workspace.package]\nlicense="MIT"'},
            "MIT",
        ),
        ({"setup.py": "setup(name='x', license='GPLv3', version='1')"}, "GPL-3.0-only"),
        ({"MIT-LICENSE.txt": MIT, "GPL-LICENSE.txt": GPL_3}, "GPL-3.0-only OR MIT"),
        (
            {"LICENSES/MIT.txt": MIT, "LICENSES/GPL-3.0-or-later.txt": GPL_3},
            "GPL-3.0-or-later AND MIT",
        ),
        ({"LICENSES/LLVM-exception.txt": "x", "LICENSES/Beerware.txt": "beer"}, "Beerware"),
        ({"LICENSE": MIT, "LICENSES/CC0-1.0.txt": "x"}, "MIT"),  # what a file says overrules it
        ({"package.json": '{"license": "SEE LICENSE IN LICENSE", "x": 1}', "LICENSE": MIT}, "MIT"),
        ({"DESCRIPTION": "Package: x\nLicense: GPL (>= 2) | file LICENSE\n"}, "GPL-2.0-or-later"),
        ({"DESCRIPTION": "Package: x\nLicense: MIT + file LICENSE\n"}, "MIT"),
        (
            {
                "debian/copyright": "Format: x\n\nFiles: *\nLicense: GPL-2+\n\n"
                "Files: a\nLicense: MIT\n"
            },
            "GPL-2.0-or-later",
        ),
        ({"debian/copyright": MIT}, "MIT"),
        ({"package.json": "{broken", "Cargo.toml": "= =", "pyproject.toml": "[[["}, None),
        ({"package.json": "[" * 100_000}, None),
        ({"package.json": '{"license": {"type": 3}}', "composer.json": "[]"}, None),
        ({}, None),
    ],
)
def test_repositories(files: dict[str, str], spdx: str | None) -> None:
    content = {path: text.encode() for path, text in files.items()}
    assert all(tells(path) for path in content)
    assert of_repository(content.items()) == spdx
    assert of_repository(reversed(list(content.items()))) == spdx


def test_only_files_at_the_top_tell() -> None:
    assert tells("LICENSE.md") and tells("x.gemspec")
    assert not tells("src/LICENSE") and not tells("docs/package.json") and not tells("main.py")
    assert is_license_file("COPYING") and not is_license_file("copy.py")


@pytest.mark.parametrize(
    ("head", "spdx"),
    [
        (b"/* SPDX-License-Identifier: GPL-2.0 */\nint x;", "GPL-2.0-only"),
        (b"// SPDX-License-Identifier: MIT OR Apache-2.0\n", "MIT OR Apache-2.0"),
        (
            b"# SPDX-License-Identifier: (GPL-2.0 OR BSD-3-Clause)\r\n",
            "GPL-2.0-only OR BSD-3-Clause",
        ),
        (b"<!-- SPDX-License-Identifier: CC-BY-4.0 -->", "CC-BY-4.0"),
        (b"# SPDX-License-Identifier: what you like\n", None),
        (b"(* SPDX-License-Identifier: MIT *)\n", "MIT"),
        (b"{# SPDX-License-Identifier: MIT #}\n", "MIT"),
        (b"/* SPDX-License-Identifier: MIT */ #include <a.h>\n", "MIT"),
        (b"# SPDX-License-Identifier: MIT.\n", "MIT"),
        (
            b"# SPDX-License-Identifier: MIT OR ISC\n# SPDX-License-Identifier: GPL-2.0-only\n",
            "(MIT OR ISC) AND GPL-2.0-only",
        ),
        (b"# SPDX-License-Identifier: <expression>\n", None),
        (b"print('# SPDX-License-Identifier: MIT')\n", None),
        (b"x = 1\n", None),
    ],
)
def test_header_lines(head: bytes, spdx: str | None) -> None:
    assert from_header(head) == spdx


def test_metadata_of_a_distribution() -> None:
    assert from_metadata("mit", [], None) == "MIT"
    assert from_metadata(None, ["License :: OSI Approved :: BSD License"], BSD_2) == "BSD-2-Clause"
    assert from_metadata(None, ["License :: OSI Approved :: MIT License"], "GPL") == "MIT"
    assert from_metadata(None, [], None) is None


def test_texts_agree_with_what_installed_distributions_declare() -> None:
    """Distributions that declare one license and carry one license file."""
    agree, compared = 0, []
    for one in metadata.distributions():
        declared = canonical(one.metadata.get("License-Expression") or "")
        files = [f for f in one.files or [] if ".dist-info" in str(f) and is_license_file(f.name)]
        if not declared or len(ids(declared)) != 1 or len(files) != 1:
            continue
        path = Path(str(one.locate_file(files[0])))
        if path.is_file():
            found = of_repository([(path.name, path.read_bytes())])
            compared.append((one.metadata["Name"], declared, found))
            agree += found == declared
    if len(compared) < 10:
        pytest.skip("too few distributions with License-Expression: install the dev extra")
    assert agree >= 0.9 * len(compared), [row for row in compared if row[1] != row[2]]


@given(
    st.dictionaries(
        st.sampled_from(
            [
                "LICENSE",
                "package.json",
                "Cargo.toml",
                "pom.xml",
                "PKG-INFO",
                "setup.py",
                "a.gemspec",
                "DESCRIPTION",
                "debian/copyright",
                "COPYING-MIT",
            ]
        ),
        st.binary(max_size=200),
        max_size=4,
    )
)
def test_any_bytes_are_an_expression_or_nothing(files: dict[str, bytes]) -> None:
    found = of_repository(files.items())
    assert found is None or canonical(found) == found
    assert permissive(found) in (True, False)
