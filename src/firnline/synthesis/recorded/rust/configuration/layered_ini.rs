//! Layered configuration in INI syntax, with references and the origin of every value.
//!
//! Problem: a program ships defaults, the administrator overrides some of them, and the user
//! overrides others. When a value is wrong, people ask "where does this come from?". Every
//! setting therefore remembers the layer and line that set it, and errors mention it.
//!
//! Values may refer to others: `path = ${server.root}/logs`. References are expanded when a
//! value is read, after all layers are loaded, and circles are detected.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

struct Setting {
    raw: String,
    layer: String,
    line: usize,
}

#[derive(Debug, PartialEq)]
pub enum ConfigError {
    Syntax { layer: String, line: usize, problem: &'static str },
    Missing(String),
    Circle(Vec<String>),
    Invalid { key: String, value: String, origin: String },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::Syntax { layer, line, problem } => write!(f, "{layer}:{line}: {problem}"),
            ConfigError::Missing(key) => write!(f, "no value for {key}"),
            ConfigError::Circle(keys) => write!(f, "circular reference: {}", keys.join(" -> ")),
            ConfigError::Invalid { key, value, origin } => {
                write!(f, "{key} = \"{value}\" (set in {origin}) has the wrong type")
            }
        }
    }
}

/// Settings by "section.key"; a layer loaded later wins.
#[derive(Default)]
pub struct Config {
    settings: BTreeMap<String, Setting>,
}

impl Config {
    /// Add a layer on top. On a syntax error nothing of the layer is applied.
    pub fn load(&mut self, layer: &str, text: &str) -> Result<(), ConfigError> {
        let mut section = String::new();
        let mut fresh = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            let (layer, number, line) = (layer.to_string(), index + 1, line.trim());
            let syntax = |problem| ConfigError::Syntax {
                layer: layer.clone(),
                line: number,
                problem,
            };
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Some(rest) = line.strip_prefix('[') {
                let name = rest.strip_suffix(']').ok_or_else(|| syntax("missing ]"))?;
                section = name.trim().to_string();
                continue;
            }
            let (key, value) = line.split_once('=').ok_or_else(|| syntax("missing ="))?;
            if key.trim().is_empty() || section.is_empty() {
                return Err(syntax("a setting needs a section and a name"));
            }
            let name = format!("{section}.{}", key.trim());
            fresh.insert(name, Setting { raw: value.trim().to_string(), layer, line: number });
        }
        self.settings.extend(fresh);
        Ok(())
    }

    /// Read a value as text with all references expanded.
    pub fn text(&self, key: &str) -> Result<String, ConfigError> {
        self.expand(key, &mut Vec::new())
    }

    /// Read a value as any type that can be parsed from text.
    pub fn get<T: FromStr>(&self, key: &str) -> Result<T, ConfigError> {
        let value = self.text(key)?;
        value.parse().map_err(|_| ConfigError::Invalid {
            key: key.to_string(),
            origin: self.origin(key).unwrap_or_default(),
            value,
        })
    }

    /// The layer and line that decided a setting.
    pub fn origin(&self, key: &str) -> Option<String> {
        self.settings.get(key).map(|s| format!("{} line {}", s.layer, s.line))
    }

    fn expand(&self, key: &str, trail: &mut Vec<String>) -> Result<String, ConfigError> {
        if let Some(start) = trail.iter().position(|seen| seen == key) {
            let mut circle = trail.split_off(start);
            circle.push(key.to_string());
            return Err(ConfigError::Circle(circle));
        }
        let setting = self.settings.get(key).ok_or_else(|| ConfigError::Missing(key.into()))?;
        trail.push(key.to_string());
        let mut out = String::new();
        let mut rest = setting.raw.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let (name, tail) = after.split_once('}').unwrap_or((after, ""));
            out.push_str(before);
            out.push_str(&self.expand(name.trim(), trail)?);
            rest = tail;
        }
        trail.pop();
        Ok(out + rest)
    }
}

fn main() -> Result<(), ConfigError> {
    let mut config = Config::default();
    config.load("defaults", "[server]\nroot = /srv\n[log]\npath = ${server.root}/log")?;
    config.load("site", "# disks\n[server]\nroot = /data/${site.name}\n[site]\nname = oslo")?;
    config.load("user", "[server]\nport = eighty")?;

    assert_eq!(config.text("log.path")?, "/data/oslo/log");
    let wrong = config.get::<u16>("server.port").unwrap_err();
    println!("{wrong}");
    assert_eq!(config.origin("server.port").as_deref(), Some("user line 2"));
    assert_eq!(config.get::<u16>("server.host"), Err(ConfigError::Missing("server.host".into())));

    config.load("loop", "[site]\nname = ${log.path}")?;
    let circle = config.text("server.root").unwrap_err();
    println!("{circle}");
    assert!(matches!(circle, ConfigError::Circle(keys) if keys.len() == 4));
    println!("{}", config.load("typo", "[server]\nport 80").unwrap_err());
    Ok(())
}
