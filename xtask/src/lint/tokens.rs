//! Cuts Rust source into words, `::` and other marks, without comments and literals.

/// A piece of source that the lints distinguish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Word(String),
    /// `::`
    Joint,
    Mark(char),
}

/// The tokens of `text`, each with its line, from 1.
pub(super) fn tokenize(text: &str) -> Vec<(Token, usize)> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(&character) = characters.get(at) {
        let length = match character {
            '/' | '"' | '\'' | 'r' | 'b' | 'c' => literal_length(&characters[at..]),
            _ => None,
        };
        if let Some(length) = length {
            let skipped = &characters[at..at + length];
            line += skipped.iter().filter(|character| **character == '\n').count();
            at += length;
        } else if is_word(character) {
            let word: String =
                characters[at..].iter().take_while(|character| is_word(**character)).collect();
            at += word.chars().count();
            tokens.push((Token::Word(word), line));
        } else if characters[at..].starts_with(&[':', ':']) {
            tokens.push((Token::Joint, line));
            at += 2;
        } else {
            if character == '\n' {
                line += 1;
            } else if !character.is_whitespace() {
                tokens.push((Token::Mark(character), line));
            }
            at += 1;
        }
    }
    tokens
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// Length of the comment or literal at the start of `text`; `None`: it begins with neither.
fn literal_length(text: &[char]) -> Option<usize> {
    if text.starts_with(&['/', '/']) {
        return Some(text.iter().take_while(|character| **character != '\n').count());
    }
    if text.starts_with(&['/', '*']) {
        return Some(block_comment_length(text));
    }
    let prefix = text.iter().take(2).take_while(|mark| matches!(mark, 'r' | 'b' | 'c')).count();
    let is_raw = text[..prefix].contains(&'r');
    let rest = &text[prefix..];
    let hashes = rest.iter().take_while(|mark| **mark == '#').count();
    match rest.get(hashes)? {
        '"' if is_raw => {
            let end: Vec<char> =
                std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let body = &rest[hashes + 1..];
            let length = body.windows(end.len()).position(|window| window == end)?;
            Some(prefix + hashes + 1 + length + end.len())
        }
        '"' if hashes == 0 => Some(prefix + quoted_length(rest, '"')),
        '\'' if hashes == 0 && (prefix == 0 || text[0] == 'b') => {
            Some(prefix + character_or_lifetime_length(rest))
        }
        _ => None,
    }
}

/// `/* ... */`, which nests.
fn block_comment_length(text: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with(&['/', '*']) {
            depth += 1;
            at += 2;
        } else if text[at..].starts_with(&['*', '/']) {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn quoted_length(text: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < text.len() && text[at] != quote {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(text.len())
}

/// `'a'` as a whole; of a lifetime only the mark, since its name is a word.
fn character_or_lifetime_length(text: &[char]) -> usize {
    match text {
        ['\'', '\\', ..] => quoted_length(text, '\''),
        ['\'', _, '\'', ..] => 3,
        _ => 1,
    }
}
