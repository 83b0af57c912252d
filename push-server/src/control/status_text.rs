//! The texts of `--status`: numbers in few columns, parts in lines of at most [`COLUMNS`].

/// Columns of the narrowest terminal.
pub(super) const COLUMNS: usize = 80;

/// A number in at most six columns: 9,999, then 12.3k, 4.56M, 7.89G.
pub(super) fn short(number: u64) -> String {
    if number < 10_000 {
        return grouped(number);
    }
    let units = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    // A number that would be rounded to 1,000 of a unit is shown in the next unit.
    let of = |size: u64| number as f64 / size as f64;
    let found = units.into_iter().find(|(size, _)| of(*size) >= 0.9995);
    let (size, unit) = found.unwrap_or((1_000, "k"));
    let value = of(size);
    let decimals = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{unit}")
}

/// 1234567 as 1,234,567.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `parts` in lines that begin with `label`: as many in a line as fit, with `gap` between them. A
/// part that is too long for any line gets its own.
pub(super) fn lines<'a>(
    label: &str,
    parts: impl IntoIterator<Item = &'a str>,
    gap: &str,
) -> Vec<String> {
    let indent = " ".repeat(label.chars().count());
    let mut lines: Vec<String> = Vec::new();
    let mut is_begun = false;
    for part in parts {
        let fits = |line: &String| {
            line.chars().count() + gap.chars().count() + part.chars().count() <= COLUMNS
        };
        match lines.last_mut().filter(|line| is_begun && fits(line)) {
            Some(line) => {
                line.push_str(gap);
                line.push_str(part);
            }
            None => {
                let begin = if lines.is_empty() { label } else { &indent };
                lines.push(format!("{begin}{part}"));
            }
        }
        is_begun = true;
    }
    lines
}

#[cfg(test)]
mod tests;
