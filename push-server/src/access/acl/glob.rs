//! Client ids with wildcards: `*` stands for any text, also none, and `?` for one character.

/// A pattern of client ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob(Box<[char]>);

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        Self(text.chars().collect())
    }

    /// Whether `text` matches. Takes at most the product of both lengths.
    pub(super) fn matches(&self, text: &str) -> bool {
        let (pattern, mut at) = (&self.0, 0);
        let mut rest = text.chars();
        // Where the last `*` stands, and the text that it has not taken.
        let mut star = None;
        loop {
            let before = rest.clone();
            match (pattern.get(at), rest.next()) {
                (Some('*'), _) => {
                    star = Some((at, before.clone()));
                    rest = before;
                    at += 1;
                }
                (Some('?'), Some(_)) => at += 1,
                (Some(wanted), Some(found)) if *wanted == found => at += 1,
                (None, None) => return true,
                _ => {
                    let Some((place, untaken)) = &mut star else { return false };
                    if untaken.next().is_none() {
                        return false;
                    }
                    rest = untaken.clone();
                    at = *place + 1;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
