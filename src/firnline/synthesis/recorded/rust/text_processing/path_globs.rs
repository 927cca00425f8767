//! Ordered include and exclude rules for file paths, in the style of ignore files.
//!
//! Problem: a backup tool reads rules such as `*.log`, `/build/`, `docs/**/draft-?.txt` and
//! `!keep.log`. The last rule that matches decides. Rules are parsed once into segments:
//!   `*`  any characters within a segment     `?`   one character within a segment
//!   `**` any number of whole segments        `[a-c]` a character in a range
//! A rule without an inner slash matches at every depth; a rule that ends with a slash
//! matches everything below such a directory.

#[derive(Debug, Clone, PartialEq)]
enum Piece {
    Exactly(char),
    AnyChar,
    AnyRun,
    OneOf(char, char),
}

#[derive(Debug, Clone, PartialEq)]
enum Segment {
    AnyDepth,
    Name(Vec<Piece>),
}

struct Rule {
    include: bool,
    segments: Vec<Segment>,
}

fn parse_pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut chars = text.chars();
    while let Some(ch) = chars.next() {
        pieces.push(match ch {
            '*' => Piece::AnyRun,
            '?' => Piece::AnyChar,
            '\\' => Piece::Exactly(chars.next().ok_or("nothing after backslash")?),
            '[' => {
                let inside: Vec<char> = chars.by_ref().take_while(|&c| c != ']').collect();
                match inside[..] {
                    [low, '-', high] => Piece::OneOf(low, high),
                    _ => return Err(format!("bad bracket in \"{text}\"")),
                }
            }
            other => Piece::Exactly(other),
        });
    }
    Ok(pieces)
}

fn parse_rule(line: &str) -> Result<Rule, String> {
    let include = line.starts_with('!');
    let directory = line.ends_with('/');
    let body = line.trim_start_matches('!').trim_end_matches('/');
    let mut segments = Vec::new();
    if !body.contains('/') {
        segments.push(Segment::AnyDepth);
    }
    for part in body.trim_start_matches('/').split('/') {
        segments.push(match part {
            "" => return Err(format!("empty segment in \"{line}\"")),
            "**" => Segment::AnyDepth,
            name => Segment::Name(parse_pieces(name)?),
        });
    }
    if directory {
        segments.push(Segment::Name(vec![Piece::AnyRun])); // something must be inside
    }
    segments.push(Segment::AnyDepth); // a match covers everything below it
    Ok(Rule { include, segments })
}

/// Match one segment. After a mismatch only the LAST `*` needs to be tried longer, so the
/// time is at most the product of the two lengths.
fn name_matches(pieces: &[Piece], name: &[char]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        let fits = match pieces.get(p) {
            Some(Piece::AnyRun) => {
                retry = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(Piece::AnyChar) => true,
            Some(Piece::Exactly(ch)) => *ch == name[n],
            Some(Piece::OneOf(low, high)) => (*low..=*high).contains(&name[n]),
            None => false,
        };
        if fits {
            p += 1;
            n += 1;
        } else if let Some((after_star, start)) = retry {
            retry = Some((after_star, start + 1));
            p = after_star;
            n = start + 1;
        } else {
            return false;
        }
    }
    pieces[p..].iter().all(|piece| *piece == Piece::AnyRun)
}

fn path_matches(segments: &[Segment], path: &[Vec<char>]) -> bool {
    match segments.split_first() {
        None => path.is_empty(),
        Some((Segment::AnyDepth, rest)) => (0..=path.len()).any(|i| path_matches(rest, &path[i..])),
        Some((Segment::Name(pieces), rest)) => path
            .split_first()
            .is_some_and(|(name, tail)| name_matches(pieces, name) && path_matches(rest, tail)),
    }
}

/// Parse a rule file; blank lines and lines that start with # are skipped.
fn parse_rules(text: &str) -> Result<Vec<Rule>, String> {
    let lines = text.lines().map(str::trim);
    lines.filter(|l| !l.is_empty() && !l.starts_with('#')).map(parse_rule).collect()
}

/// True when the path is wanted, that is, not excluded by the last rule that matches.
fn wanted(rules: &[Rule], path: &str) -> bool {
    let parts: Vec<Vec<char>> = path.split('/').map(|part| part.chars().collect()).collect();
    let decisive = rules.iter().rev().find(|rule| path_matches(&rule.segments, &parts));
    decisive.map_or(true, |rule| rule.include)
}

fn main() -> Result<(), String> {
    let rules = parse_rules("# what not to save\n*.log\n!keep.log\n/build/\n
        docs/**/draft-?.txt\n[0-9][0-9]tmp\ncache/*/x*y*z")?;
    let kept = ["a.txt", "logs/keep.log", "src/build/x", "build", "docs/draft-10.txt", "cache/xyz"];
    let dropped = ["a/b/run.log", "build/a/b", "docs/draft-1.txt", "docs/a/b/draft-z.txt",
        "deep/07tmp/file", "cache/q/xayyyaz/more"];
    for path in kept.iter().chain(&dropped) {
        println!("{:<24} {}", path, if wanted(&rules, path) { "saved" } else { "skipped" });
    }
    assert!(kept.iter().all(|path| wanted(&rules, path)));
    assert!(dropped.iter().all(|path| !wanted(&rules, path)));
    assert!(parse_rules("a//b").is_err() && parse_rules("x[]").is_err());
    Ok(())
}
