//! Reads the paths out of Rust source (`a::b`, and every leaf of `a::{b, c::d}`), comments and
//! literals left out. A scanner, not a parser: it knows as much of Rust as import rules need.

use super::tokens::{Token, tokenize};

/// A path as it is written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// Its segments; `crate`, `self` and `super` are resolved as far as the file's module tells.
    pub(crate) segments: Vec<String>,
    /// Line in the file, from 1.
    pub(crate) line: usize,
    /// Whether it stands in a module called `tests`.
    pub(crate) in_tests: bool,
}

/// What a source file holds that lints ask for.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Every path of two segments or more, and every one-segment `use`.
    pub(crate) paths: Vec<Path>,
    /// Lines with an attribute that suppresses a lint without an expectation.
    pub(crate) allow_lines: Vec<usize>,
}

/// Scans `text`, whose module is `module` (`["crate", "mqtt", "codec"]`).
pub(crate) fn scan(text: &str, module: &[String]) -> Source {
    let tokens = tokenize(text);
    let mut scanner = Scanner {
        tokens: &tokens,
        at: 0,
        module: module.to_vec(),
        modules_open: Vec::new(),
        depth: 0,
        source: Source::default(),
    };
    scanner.run();
    scanner.source
}

struct Scanner<'a> {
    tokens: &'a [(Token, usize)],
    at: usize,
    /// The module around the current token, inline ones included.
    module: Vec<String>,
    /// Brace depths at which inline modules opened.
    modules_open: Vec<usize>,
    depth: usize,
    source: Source,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some((token, line)) = self.tokens.get(self.at) {
            match token {
                Token::Word(word) if word == "use" => {
                    self.at += 1;
                    self.tree(&[], true);
                }
                Token::Word(word) if word == "mod" => self.inline_module(),
                Token::Word(_) => self.tree(&[], false),
                Token::Mark('#') => {
                    if self.is_allow() {
                        self.source.allow_lines.push(*line);
                    }
                    self.at += 1;
                }
                Token::Mark(mark) => {
                    self.brace(*mark);
                    self.at += 1;
                }
                Token::Joint => self.at += 1,
            }
        }
    }

    fn brace(&mut self, mark: char) {
        match mark {
            '{' => self.depth += 1,
            '}' => {
                self.depth = self.depth.saturating_sub(1);
                if self.modules_open.last() == Some(&self.depth) {
                    self.modules_open.pop();
                    self.module.pop();
                }
            }
            _ => {}
        }
    }

    /// `mod name {` opens a module; `mod name;` does not.
    fn inline_module(&mut self) {
        self.at += 1;
        if let Some(Token::Word(name)) = self.peek(0).cloned()
            && self.peek(1) == Some(&Token::Mark('{'))
        {
            self.modules_open.push(self.depth);
            self.module.push(name);
        }
    }

    /// Reads a path, and the tree of a `use`, whose leaves each become one.
    fn tree(&mut self, prefix: &[String], in_use: bool) {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |(_, line)| *line);
        if self.peek(0) == Some(&Token::Joint) {
            self.at += 1;
        }
        loop {
            match self.peek(0) {
                Some(Token::Word(word)) => segments.push(word.clone()),
                Some(Token::Mark('*')) if in_use => {}
                Some(Token::Mark('{')) if in_use => return self.group(&segments),
                _ => break,
            }
            self.at += 1;
            if self.peek(0) != Some(&Token::Joint) {
                break;
            }
            self.at += 1;
        }
        if in_use && self.peek(0) == Some(&Token::Word("as".to_owned())) {
            self.at += 2;
        }
        if segments.len() > 1 || in_use {
            let segments = self.resolve(segments);
            let in_tests = self.module.iter().any(|name| name == "tests");
            self.source.paths.push(Path { segments, line, in_tests });
        }
    }

    /// The `{a, b::c}` of a `use`.
    fn group(&mut self, prefix: &[String]) {
        self.at += 1;
        loop {
            match self.peek(0) {
                None => return,
                Some(Token::Mark('}')) => {
                    self.at += 1;
                    return;
                }
                Some(Token::Word(_) | Token::Joint | Token::Mark('{' | '*')) => {
                    self.tree(prefix, true);
                }
                Some(Token::Mark(_)) => self.at += 1,
            }
        }
    }

    fn resolve(&self, segments: Vec<String>) -> Vec<String> {
        let Some(first) = segments.first() else { return segments };
        if first != "self" && first != "super" {
            return segments;
        }
        let supers = segments.iter().filter(|segment| *segment == "super").count();
        let kept = self.module.len().saturating_sub(supers).max(1);
        let mut resolved = self.module[..kept.min(self.module.len())].to_vec();
        let names = segments.into_iter().skip_while(|name| name == "self" || name == "super");
        resolved.extend(names);
        resolved
    }

    /// `#[allow(` and `#![allow(`.
    fn is_allow(&self) -> bool {
        let inner = usize::from(self.peek(1) == Some(&Token::Mark('!')));
        self.peek(1 + inner) == Some(&Token::Mark('['))
            && self.peek(2 + inner) == Some(&Token::Word("allow".to_owned()))
            && self.peek(3 + inner) == Some(&Token::Mark('('))
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(token, _)| token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(text: &str) -> Vec<String> {
        let module = ["crate", "mqtt", "codec"].map(str::to_owned);
        scan(text, &module).paths.iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn leaves_of_use_trees_are_paths() {
        let text = "use crate::{ring::Ring, kernel::{self, SlotRef as Slot}, *};\nuse tokio;";
        let expected = [
            "crate::ring::Ring",
            "crate::kernel::self",
            "crate::kernel::SlotRef",
            "crate",
            "tokio",
        ];
        assert_eq!(paths(text), expected);
    }

    #[test]
    fn paths_in_code_are_found_and_words_are_not() {
        let text = "fn now(x: &'a Instant) -> T<'a> { let c = 'c'; std::time::Instant::now() }";
        assert_eq!(paths(text), ["std::time::Instant::now"]);
    }

    #[test]
    fn comments_and_literals_hold_no_paths() {
        let text = "// a::b\n/* c::d /* e::f */ */ let s = \"g::h \\\" i::j\"; let r = r#\"k::l \"m::n\"#; \
                    let b = b\"o::p\"; let q = '\"'; r::s();";
        assert_eq!(paths(text), ["r::s"]);
    }

    #[test]
    fn relative_paths_are_resolved_inline_modules_included() {
        let text = "use super::session; mod tests { use super::super::will; } use self::deep;";
        assert_eq!(
            paths(text),
            ["crate::mqtt::session", "crate::mqtt::will", "crate::mqtt::codec::deep"]
        );
    }

    #[test]
    fn suppressed_lints_are_found_with_their_line() {
        let text =
            "#[expect(a)]\n// #[allow(b)]\n#[allow(c)]\nfn f() { \"#[allow(d)]\n\" }\n#![allow(e)]";
        assert_eq!(scan(text, &[]).allow_lines, [3, 6]);
    }
}
