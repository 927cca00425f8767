"""The language table, and detection by name, extension, signs in the head and `#!` line."""

from __future__ import annotations

import pytest

from firnline.kernels.passages import comment_style
from firnline.languages import ARCTIC_SNOWCODER_LANGUAGES, LANGUAGES, candidates, detect, named


@pytest.mark.parametrize(
    ("path", "head", "language"),
    [
        ("a/b.py", b"", "Python"),
        ("a/B.PY", b"", "Python"),
        ("n.ipynb", b"{}", "Jupyter Notebook"),
        ("Dockerfile", b"FROM scratch", "Dockerfile"),
        ("src/main.tf", b"", "HCL"),
        ("a.sv", b"", "SystemVerilog"),
        ("app.vue", b"<template>", "Vue"),
        ("run", b"#!/bin/sh\n", "Shell"),
        ("run", b"#! /usr/bin/env python3.11\n", "Python"),
        ("run", b"#!/usr/bin/env -S node --x\n", "JavaScript"),
        ("run", b"#!/usr/bin/env\n", None),
        ("run", b"nothing\n", None),
        ("a.unknown", b"#!/bin/sh\n", None),
        (".gitattributes", b"", None),
    ],
)
def test_detect(path: str, head: bytes, language: str | None) -> None:
    assert detect(path, head) == language


@pytest.mark.parametrize(
    ("path", "head", "language"),
    [
        ("x.h", b"int f(void);\n", "C"),
        ("x.h", b"#include <stdio.h>\nint f(void);\n", "C"),
        ("x.h", b"/* a\n class of its own\n std::string */\nint f(void); // std::x\n", "C"),
        ("x.h", b'#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\n', "C"),
        ("x.h", b'#define TEXT "a::b"\n', "C"),
        ("x.h", b"#include <vector>\n", "C++"),
        ("x.h", b"namespace a {\n", "C++"),
        ("x.h", b"int sum(const Point& a, const Point &b);\n", "C++"),
        ("x.h", b"#define LOW(x) (const_mask & (x))\nint const a = 1;\n", "C"),
        ("x.h", b"class Shape final {\n", "C++"),
        ("x.h", b"/* c */\nstd::size_t size();\n", "C++"),
        ("x.h", b"@interface Shape : NSObject\n@end\n", "Objective-C"),
        ("x.h", b"#import <UIKit/UIKit.h>\n", "Objective-C"),
        ("x.m", b"#import <UIKit/UIKit.h>\nint main() {}\n", "Objective-C"),
        ("x.m", b"function y = f(x)\n  y = x.^2;\nend\n", "MATLAB"),
        ("x.m", b"## Copyright\nx = 1;\n", "MATLAB"),
        ("x.m", b"% a script\nA = eye(3);\n", "MATLAB"),
        ("x.m", b":- module hello.\n:- interface.\n", None),  # Mercury
        ("x.m", b"(* Mathematica *)\nf[x_] := x^2\n", None),
        ("x.sql", b"create table t (a int);\ninsert into t values (1);\n", "SQL"),
        ("x.sql", b"INSERT INTO t VALUES (1, 'a');\n" * 40, "SQL Dump"),
        ("x.sql", b"-- MySQL dump 10.13\n", "SQL Dump"),
        ("x.sql", b"COPY t (a, b) FROM stdin;\n1\t2\n", "SQL Dump"),
        ("x.ts", b"export const a: number = 1;\n", "TypeScript"),
        ("x.ts", b'<?xml version="1.0"?>\n<!DOCTYPE TS>\n<TS version="2.1">\n', "XML"),
        ("x.ts", (b"G" + b"\x1f" * 187) * 3, None),
        ("x.tsx", b"export default () => <p/>;\n", "TypeScript"),
        ("x.pl", b"use strict;\nmy $x = 1;\n", "Perl"),
        ("x.pl", b"# a comment\nprint 1;\n", "Perl"),
        ("x.pl", b":- module(lists, [append/3]).\nappend([], L, L).\n", "Prolog"),
        ("x.pl", b"parent(tom, bob).\nold(X) :- age(X, Y), Y > 9.\n", "Prolog"),
        ("x.pl", b"#!/usr/bin/env swipl\nmain :- true.\n", "Prolog"),
        ("x.v", b"module top(input clk);\nendmodule\n", "Verilog"),
        ("x.v", b"Require Import List.\nLemma a : True. Proof. exact I. Qed.\n", "Coq"),
        ("x.v", b"module main\n\nfn main() {\n\tprintln('hi')\n}\n", "V"),
        ("x.r", b"f <- function(x) x + 1\n", "R"),
        ("x.R", b"library(stats)\n", "R"),
        ("x.r", b'REBOL [title: "x"]\n', None),
        ("x.cls", b"\\NeedsTeXFormat{LaTeX2e}\n", "LaTeX"),
        ("x.cls", b"public with sharing class A {\n", "Apex"),
        ("x.cls", b"VERSION 1.0 CLASS\nBEGIN\n", "Visual Basic"),
        ("x.inc", b"<?php echo 1;\n", "PHP"),
        ("x.inc", b"{$ifdef x}\nconst a = 1;\n{$endif}\n", "Pascal"),
        ("x.inc", b"#define A 1\n", "C"),
        ("x.inc", b"namespace a { }\n", "C++"),
        ("x.fs", b"#version 330\nvoid main() {}\n", "GLSL"),
        ("x.fs", b"let x = 1\n", "F#"),
        ("x.pp", b"class apache {\n  package { 'httpd': ensure => present }\n}\n", "Puppet"),
        ("x.d", b"main.o: main.c main.h\n", None),
        ("x.d", b"module app;\nimport std.stdio;\n", "D"),
    ],
)
def test_an_extension_of_several_languages_is_decided_by_content(
    path: str, head: bytes, language: str | None
) -> None:
    assert candidates(path, head) == ((language,) if language else ())
    assert candidates(path, b"\xef\xbb\xbf" + head) == ((language,) if language else ())


def test_without_a_sign_the_languages_stay_candidates() -> None:
    assert set(candidates("x.m", b"x\n")) == {"Objective-C", "MATLAB"}
    assert len(candidates("x.inc", b"x\n")) > 2
    assert detect("x.inc", b"") is not None  # may be code: it is to be read


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("python", "Python"),
        ("c-sharp", "C#"),
        ("cpp", "C++"),
        ("jupyter-notebook", "Jupyter Notebook"),
        ("Objective-C++", "Objective-C"),
        ("restructuredtext", "reStructuredText"),
        ("TeX", "LaTeX"),
        ("common_lisp", "Common Lisp"),
        ("Klingon", None),
    ],
)
def test_names_of_other_tables(name: str, ours: str | None) -> None:
    assert named(name) == ours


def test_the_table_says_each_thing_once() -> None:
    rows = LANGUAGES.values()
    for things in (
        [extension for row in rows for extension in row.extensions],
        [filename for row in rows for filename in row.filenames],
        [program for row in rows for program in row.interpreters],
        [alias for row in rows for alias in row.aliases],
    ):
        assert len(things) == len(set(things))
    assert len(ARCTIC_SNOWCODER_LANGUAGES) == 18
    assert {"Python", "SQL", "Jupyter Notebook", "Swift"} <= set(ARCTIC_SNOWCODER_LANGUAGES)
    kinds = {"programming", "markup", "data", "prose", "adjacent"}
    assert {row.kind for row in rows} == kinds


def test_each_extension_has_its_dot_and_each_language_something_that_tells_it() -> None:
    for row in LANGUAGES.values():
        assert all(extension.startswith(".") for extension in row.extensions)
        assert all(extension == extension.lower() for extension in row.extensions)
        assert comment_style(row.name) >= 0
        if row.name not in ("SQL Dump", "Puppet") and row.kind != "adjacent":
            assert row.extensions, row.name
