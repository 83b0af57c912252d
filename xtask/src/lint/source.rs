//! Reads Rust source for the lints: its paths (`a::b`, and every leaf of `a::{b, c::d}`), modules,
//! items and `impl` blocks, without comments and literals. A scanner, not a parser: it knows only
//! as much of Rust as the lints need.

use std::collections::BTreeSet;

use super::tokens::{Token, tokenize};

/// A path as it is written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    /// Its segments. The module that it stands in resolves `self` and `super`.
    pub(crate) segments: Vec<String>,
    /// The module that it stands in, including inline ones.
    pub(crate) module: Vec<String>,
    /// The name that a `use` gives it; `*`: everything in it; `None`: it is not in a `use`.
    pub(crate) binds: Option<String>,
    /// Whether it is in a `pub use`, of any visibility.
    pub(crate) is_public: bool,
    /// Line in the file, from 1.
    pub(crate) line: usize,
    /// Whether it stands in a module called `tests`, or in an item under `#[cfg(test)]`.
    pub(crate) in_tests: bool,
}

/// `mod name;` or `mod name { ... }`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    pub(crate) path: Vec<String>,
    pub(crate) is_inline: bool,
    pub(crate) line: usize,
    pub(crate) in_tests: bool,
}

/// A function, type, trait, constant or static of a module, outside any other item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) module: Vec<String>,
    pub(crate) name: String,
}

/// A struct with named fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Struct {
    pub(crate) name: String,
    /// The number of its fields.
    pub(crate) fields: usize,
    pub(crate) line: usize,
    pub(crate) in_tests: bool,
}

/// The header of an `impl` block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Impl {
    pub(crate) module: Vec<String>,
    /// The type that it is for, without its arguments.
    pub(crate) type_path: Vec<String>,
    /// The trait and the names in its arguments; empty if the block holds methods of the type's
    /// own.
    pub(crate) trait_paths: Vec<Vec<String>>,
    pub(crate) line: usize,
    pub(crate) in_tests: bool,
}

/// The parts of a source file that the lints need.
#[derive(Debug, Default)]
pub(crate) struct Source {
    /// Every path of two segments or more, and every one-segment `use`.
    pub(crate) paths: Vec<Path>,
    pub(crate) modules: Vec<Module>,
    pub(crate) items: Vec<Item>,
    pub(crate) impls: Vec<Impl>,
    pub(crate) structs: Vec<Struct>,
    /// Every word outside `use` and tests.
    pub(crate) words: BTreeSet<String>,
    /// Lines with an attribute that suppresses a lint without `expect`.
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
        is_public: false,
        test_item: None,
        source: Source::default(),
    };
    scanner.run();
    scanner.source
}

struct Scanner<'a> {
    tokens: &'a [(Token, usize)],
    at: usize,
    /// The module around the current token, including inline ones.
    module: Vec<String>,
    /// Depths at which inline modules opened.
    modules_open: Vec<usize>,
    /// Brackets of every kind that are open.
    depth: usize,
    /// Whether the current `use` is a `pub use`.
    is_public: bool,
    /// Depth of the item under `#[cfg(test)]` that the current token belongs to.
    test_item: Option<usize>,
    source: Source,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some((token, line)) = self.tokens.get(self.at) {
            match token {
                Token::Word(word) => self.word(word, *line),
                Token::Mark('#') => {
                    if self.is_attribute("allow", None) {
                        self.source.allow_lines.push(*line);
                    }
                    if self.test_item.is_none() && self.is_attribute("cfg", Some("test")) {
                        self.test_item = Some(self.depth);
                    }
                    self.at += 1;
                }
                Token::Mark(mark) => {
                    self.mark(*mark);
                    self.at += 1;
                }
                Token::Joint => self.at += 1,
            }
        }
    }

    fn word(&mut self, word: &str, line: usize) {
        match word {
            "use" => {
                self.is_public = self.is_after_visibility();
                self.at += 1;
                self.tree(&[], true);
            }
            "mod" => self.module(line),
            "in" if self.is_visibility() => self.skip_path(),
            "impl" if self.is_at_item() => {
                self.impl_block(line);
                self.at += 1;
            }
            "fn" | "struct" | "enum" | "union" | "trait" | "type" | "const" | "static" => {
                self.item();
                if word == "struct" {
                    self.fields(line);
                }
                self.at += 1;
            }
            _ => self.tree(&[], false),
        }
    }

    fn mark(&mut self, mark: char) {
        match mark {
            '{' | '(' | '[' => self.depth += 1,
            '}' | ')' | ']' => {
                self.depth = self.depth.saturating_sub(1);
                if mark == '}' && self.modules_open.last() == Some(&self.depth) {
                    self.modules_open.pop();
                    self.module.pop();
                }
            }
            _ => {}
        }
        let ends_item = matches!(mark, '}' | ';');
        if self.test_item.is_some_and(|at| self.depth < at || self.depth == at && ends_item) {
            self.test_item = None;
        }
    }

    /// `mod name;`, and `mod name {`, which opens a module.
    fn module(&mut self, line: usize) {
        self.at += 1;
        let Some(Token::Word(name)) = self.peek(0).cloned() else { return };
        let is_inline = self.peek(1) == Some(&Token::Mark('{'));
        if !is_inline && self.peek(1) != Some(&Token::Mark(';')) {
            return;
        }
        let in_tests = name == "tests" || self.in_tests();
        // The name is not a word of the surrounding module.
        self.at += 1;
        let path = [self.module.as_slice(), std::slice::from_ref(&name)].concat();
        self.source.modules.push(Module { path, is_inline, line, in_tests });
        if is_inline {
            self.modules_open.push(self.depth);
            self.module.push(name);
        }
    }

    /// An item's name, which follows its keyword.
    fn item(&mut self) {
        let depth = self.modules_open.last().map_or(0, |opened| opened + 1);
        let ahead = if self.peek(1) == Some(&Token::Word("mut".to_owned())) { 2 } else { 1 };
        if let Some(Token::Word(name)) = self.peek(ahead)
            && self.depth == depth
            // `*const T` is a type.
            && self.before(1) != Some(&Token::Mark('*'))
            && !matches!(name.as_str(), "fn" | "unsafe" | "extern" | "async")
        {
            self.source.items.push(Item { module: self.module.clone(), name: name.clone() });
        }
    }

    /// The named fields of a struct, if it has such.
    fn fields(&mut self, line: usize) {
        let Some(Token::Word(name)) = self.peek(1).cloned() else { return };
        let is_end = |(token, _): &(Token, usize)| matches!(token, Token::Mark('{' | ';'));
        let Some(ahead) = self.tokens[self.at..].iter().position(is_end) else { return };
        let body = self.at + ahead;
        if self.tokens[body].0 != Token::Mark('{') {
            return;
        }
        let (mut depth, mut fields) = (0_usize, 0);
        for at in body..self.tokens.len() {
            match self.tokens[at].0 {
                Token::Mark('{' | '(' | '[' | '<') => depth += 1,
                Token::Mark('>') if self.tokens[at - 1].0 == Token::Mark('-') => {}
                Token::Mark('}' | ')' | ']' | '>') => depth -= 1,
                Token::Mark(':') if depth == 1 => fields += 1,
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
        let in_tests = self.in_tests();
        self.source.structs.push(Struct { name, fields, line, in_tests });
    }

    /// The header of an `impl` block; its paths are read a second time as paths.
    fn impl_block(&mut self, line: usize) {
        let at = self.after_generics(self.at + 1);
        let (mut type_path, next) = self.header_path(at);
        let mut trait_paths = Vec::new();
        if self.tokens.get(next).is_some_and(|(token, _)| *token == Token::Word("for".to_owned())) {
            trait_paths = self.paths_between(at, next);
            (type_path, _) = self.header_path(next + 1);
        }
        if !type_path.is_empty() {
            self.source.impls.push(Impl {
                module: self.module.clone(),
                type_path: self.resolve(type_path),
                trait_paths,
                line,
                in_tests: self.in_tests(),
            });
        }
    }

    /// The path of the type or trait at `at` (empty for a tuple or a slice), and where the header
    /// goes on.
    fn header_path(&self, mut at: usize) -> (Vec<String>, usize) {
        let mut segments = Vec::new();
        let mut is_path = true;
        while let Some((token, _)) = self.tokens.get(at) {
            match token {
                Token::Mark('{') => break,
                Token::Word(word) if matches!(word.as_str(), "for" | "where") => break,
                Token::Mark('<') => {
                    at = self.after_generics(at);
                    continue;
                }
                Token::Word(word) if is_path => {
                    // A lifetime's name, `mut` or `dyn` may precede it.
                    if at > 0 && self.tokens[at - 1].0 != Token::Joint {
                        segments.clear();
                    }
                    segments.push(word.clone());
                }
                Token::Word(_) | Token::Joint | Token::Mark('&' | '!') => {}
                Token::Mark(_) => is_path = false,
            }
            at += 1;
        }
        (segments, at)
    }

    /// Every path, arguments included.
    fn paths_between(&self, at: usize, end: usize) -> Vec<Vec<String>> {
        let mut paths: Vec<Vec<String>> = Vec::new();
        for at in at..end {
            let Token::Word(word) = &self.tokens[at].0 else { continue };
            match paths.last_mut() {
                Some(path) if self.tokens[at - 1].0 == Token::Joint => path.push(word.clone()),
                _ => paths.push(vec![word.clone()]),
            }
        }
        paths.into_iter().map(|path| self.resolve(path)).collect()
    }

    /// The position after the `<...>` at `at`, if there is one.
    fn after_generics(&self, mut at: usize) -> usize {
        let mut depth = 0_usize;
        while let Some((token, _)) = self.tokens.get(at) {
            let is_arrow = at > 0 && self.tokens[at - 1].0 == Token::Mark('-');
            match token {
                Token::Mark('<') => depth += 1,
                Token::Mark('>') if !is_arrow => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return if *token == Token::Mark('>') { at + 1 } else { at };
            }
            at += 1;
        }
        at
    }

    /// Reads a path or the tree of a `use`, whose leaves each become a path.
    fn tree(&mut self, prefix: &[String], in_use: bool) {
        let mut segments = prefix.to_vec();
        let line = self.tokens.get(self.at).map_or(0, |(_, line)| *line);
        if self.peek(0) == Some(&Token::Joint) {
            self.at += 1;
        }
        let mut is_glob = false;
        loop {
            match self.peek(0) {
                Some(Token::Word(word)) => segments.push(word.clone()),
                Some(Token::Mark('*')) if in_use => is_glob = true,
                Some(Token::Mark('{')) if in_use => return self.group(&segments),
                _ => break,
            }
            self.at += 1;
            if self.peek(0) != Some(&Token::Joint) {
                break;
            }
            self.at += 1;
        }
        let mut binds = None;
        if in_use {
            let name = segments.iter().rev().find(|name| *name != "self").cloned();
            binds = if is_glob { Some("*".to_owned()) } else { name };
            if self.peek(0) == Some(&Token::Word("as".to_owned())) {
                let alias = self.peek(1).cloned();
                binds =
                    alias.and_then(
                        |alias| if let Token::Word(alias) = alias { Some(alias) } else { None },
                    );
                self.at += 2;
            }
        }
        if !in_use && !self.in_tests() {
            self.source.words.extend(segments.iter().cloned());
        }
        if segments.len() > 1 || in_use && !segments.is_empty() {
            let segments = self.resolve(segments);
            let (module, in_tests) = (self.module.clone(), self.in_tests());
            let is_public = in_use && self.is_public;
            self.source.paths.push(Path { segments, module, binds, is_public, line, in_tests });
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

    fn in_tests(&self) -> bool {
        self.test_item.is_some() || self.module.iter().any(|name| name == "tests")
    }

    /// Whether an item may begin here, so that `impl` is a block and not a type.
    fn is_at_item(&self) -> bool {
        self.before(1).is_none_or(|token| match token {
            Token::Mark(mark) => matches!(mark, '{' | '}' | ';' | ']'),
            Token::Word(word) => word == "unsafe",
            Token::Joint => false,
        })
    }

    /// Whether `in` belongs to `pub(in path)`, which imports nothing.
    fn is_visibility(&self) -> bool {
        self.before(1) == Some(&Token::Mark('('))
            && self.before(2) == Some(&Token::Word("pub".to_owned()))
    }

    /// Whether `pub` or `pub(...)` stands before the current token.
    fn is_after_visibility(&self) -> bool {
        let mut back = 1;
        if self.before(1) == Some(&Token::Mark(')')) {
            let is_open = |back: &usize| self.before(*back) == Some(&Token::Mark('('));
            let Some(open) = (2..=self.at).find(is_open) else { return false };
            back = open + 1;
        }
        self.before(back) == Some(&Token::Word("pub".to_owned()))
    }

    fn skip_path(&mut self) {
        self.at += 1;
        while matches!(self.peek(0), Some(Token::Word(_) | Token::Joint)) {
            self.at += 1;
        }
    }

    /// Whether `#[name(` or `#![name(` begins here, with only `argument` in its brackets, if one is
    /// given.
    fn is_attribute(&self, name: &str, argument: Option<&str>) -> bool {
        let inner = usize::from(self.peek(1) == Some(&Token::Mark('!')));
        let is_word = |ahead, word: &str| self.peek(ahead) == Some(&Token::Word(word.to_owned()));
        self.peek(1 + inner) == Some(&Token::Mark('['))
            && is_word(2 + inner, name)
            && self.peek(3 + inner) == Some(&Token::Mark('('))
            && argument.is_none_or(|argument| {
                is_word(4 + inner, argument) && self.peek(5 + inner) == Some(&Token::Mark(')'))
            })
    }

    fn before(&self, back: usize) -> Option<&Token> {
        let at = self.at.checked_sub(back)?;
        self.tokens.get(at).map(|(token, _)| token)
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(token, _)| token)
    }
}

#[cfg(test)]
mod tests;
