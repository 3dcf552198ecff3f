//! Foreign text in messages, cut to what a screen shows.

use std::borrow::Cow;

/// Longest word or quoted text that a message repeats: about a screen's width.
pub const WIDTH: usize = 100;
/// Longest line of a message, whatever it is made of.
const LINE: usize = 2000;

/// A message with what somebody else wrote cut to [`WIDTH`] characters: words (names, values) and what stands in quotes.
/// Lines are cut to 2000 characters in any case.
///
/// Whoever writes a message that repeats input hands it through here, so that a value of a megabyte is not told as one.
pub fn brief(text: &str) -> Cow<'_, str> {
    within(text, WIDTH)
}

/// [`brief`] with another longest word.
pub fn within(text: &str, width: usize) -> Cow<'_, str> {
    if text.len() <= width {
        return Cow::Borrowed(text);
    }
    let lines: Vec<String> =
        text.split('\n').map(|line| cut(&quotes(&words(line, width), width), LINE)).collect();
    Cow::Owned(lines.join("\n"))
}

/// Every word cut.
fn words(line: &str, width: usize) -> String {
    line.split_inclusive(char::is_whitespace)
        .map(|word| {
            let own = word.trim_end();
            format!("{}{}", cut(own, width), &word[own.len()..])
        })
        .collect()
}

/// Everything in quotes cut.
fn quotes(line: &str, width: usize) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(start) = rest.find(['"', '`']) {
        let quote = &rest[start..=start];
        let Some(length) = rest[start + 1..].find(quote) else { break };
        let (before, from) = rest.split_at(start + 1);
        let (quoted, after) = from.split_at(length);
        out += before;
        out += &cut(quoted, width);
        out += quote;
        rest = &after[1..];
    }
    out + rest
}

/// The beginning and a little of the end, with how much there was.
fn cut(text: &str, width: usize) -> String {
    let length = text.chars().count();
    if length <= width {
        return text.to_owned();
    }
    let end = width / 5;
    let (head, tail) = (width - end, length - end);
    let at = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    format!("{}…{}", &text[..at(head)], &text[at(tail)..])
}

#[cfg(test)]
mod tests {
    use super::{LINE, WIDTH, brief};

    #[test]
    fn long_values_are_cut_and_the_words_around_them_stay() {
        let text = format!("spec.content.preset: `{}` is not one of demo, none", "a".repeat(1_000_000));
        let cut = brief(&text);
        assert!(
            cut.starts_with("spec.content.preset: `aaa") && cut.ends_with("aaa` is not one of demo, none")
        );
        assert!(cut.chars().count() < 2 * WIDTH, "{cut}");
        // Also what is made of many words, and what has quotes in it.
        let text = format!("\"{}\" is wrong", "ä b ".repeat(100_000));
        assert!(brief(&text).chars().count() < 2 * WIDTH);
        let text = "a \" b ` ".repeat(100_000);
        assert_eq!(brief(&text).chars().count(), LINE + 1);
    }

    #[test]
    fn ordinary_messages_stay_as_they_are() {
        let text = "line one: `name` does not have the right form (lower-case letters, digits and '-', such as `name`)\n  \
                    indented: sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        assert_eq!(brief(text), text);
        assert_eq!(brief("it's \"open"), "it's \"open");
    }
}
