//! Labels that fit where they are drawn: broken into lines, and shortened without losing the parts
//! that distinguish them.

use super::lettering::width;

/// `text` in lines that are at most `room` pixels wide at `size`: broken at blanks, within a word
/// only where a single word is too wide, and then after a punctuation mark if there is one.
pub(super) fn wrapped(text: &str, room: f64, size: u32) -> Vec<String> {
    let fits = |line: &str| width(line, size) <= room;
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if fits(&longer) {
            line = longer;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        let mut rest = word;
        while !fits(rest) {
            let at = breaking_point(rest, fits);
            let (head, tail) = rest.split_at(at);
            lines.push(head.to_owned());
            rest = tail;
        }
        line = rest.to_owned();
    }
    if !line.is_empty() || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// The byte at which a word that does not fit is broken: after the last punctuation mark that fits,
/// else after the last letter; at least one letter stays.
fn breaking_point(word: &str, fits: impl Fn(&str) -> bool) -> usize {
    let ends = word.char_indices().map(|(at, letter)| (at + letter.len_utf8(), letter));
    let (mut letter_end, mut sign_end) = (0, 0);
    for (end, letter) in ends {
        if letter_end > 0 && !fits(&word[..end]) {
            break;
        }
        letter_end = end;
        if !letter.is_alphanumeric() && end < word.len() {
            sign_end = end;
        }
    }
    // A break so early would leave most of the line empty.
    if sign_end > letter_end / 3 { sign_end } else { letter_end }
}

/// `labels` with at most `most` characters each, besides a number that some may need. Characters
/// are left out in the middle, where a label equals others, so that different labels stay
/// different.
#[must_use]
pub fn shortened(labels: &[String], most: usize) -> Vec<String> {
    let short: Vec<String> = labels.iter().map(|label| without_middle(label, most, None)).collect();
    let clashes = |index: usize| {
        short
            .iter()
            .enumerate()
            .any(|(other, text)| other != index && *text == short[index] && labels[other] != labels[index])
    };
    let distinct = |(index, label): (usize, &String)| {
        if !clashes(index) {
            return short[index].clone();
        }
        let same = |other: &String| label.chars().zip(other.chars()).take_while(|(a, b)| a == b).count();
        let others = labels.iter().enumerate().filter(|(at, other)| short[*at] == short[index] && *other != label);
        let differs_at = others.map(|(_, other)| same(other)).min().unwrap_or(0);
        without_middle(label, most, Some(differs_at))
    };
    let mut distinct: Vec<String> = labels.iter().enumerate().map(distinct).collect();
    // Numbers distinguish the rest.
    for index in 1..distinct.len() {
        if distinct[..index].iter().zip(labels).any(|(text, label)| *text == distinct[index] && *label != labels[index])
        {
            distinct[index] = format!("{}: {}", index + 1, distinct[index]);
        }
    }
    distinct
}

/// At most `most` characters of `label`: its two ends, or, where they are the same in others, its
/// start and what is around the place from which on it differs.
fn without_middle(label: &str, most: usize, differs_at: Option<usize>) -> String {
    let letters: Vec<char> = label.chars().collect();
    if letters.len() <= most {
        return label.to_owned();
    }
    let text = |range: std::ops::Range<usize>| letters[range].iter().collect::<String>();
    let room = most.saturating_sub(2).max(2);
    let head = room / 3;
    match differs_at {
        None => {
            let head = room / 2;
            format!("{}…{}", text(0..head), text(letters.len() - (room - head)..letters.len()))
        }
        Some(at) => {
            let from = at.saturating_sub(3).min(letters.len() - (room - head)).max(head);
            let to = from + room - head;
            let end = if to < letters.len() { "…" } else { "" };
            format!("{}…{}{end}", text(0..head), text(from..to))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn words_stay_whole_where_they_fit() {
        assert_eq!(wrapped("one two three", 60.0, 12), ["one two", "three"]);
        assert_eq!(wrapped("", 60.0, 12), [""]);
        assert_eq!(wrapped("DensityFirst(active:0.05)", 100.0, 12), ["DensityFirst(", "active:0.05)"]);
    }

    #[test]
    fn labels_that_differ_in_the_middle_still_do() {
        let of = |number: u32| format!("initialization-BestRatio+placement-{number}-PreferHbm+migration-LookAhead");
        let labels = [of(1), of(2), "baseline".to_owned()];
        let short = shortened(&labels, 24);
        assert!(short[0] != short[1], "{short:?}");
        assert!(short[0].contains('1') && short[1].contains('2') && short[2] == "baseline", "{short:?}");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_too_wide(text in "[a-z(,+ ]{0,80}", room in 30.0f64..200.0) {
            let lines = wrapped(&text, room, 12);
            let blanks = |text: &str| text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>();
            prop_assert_eq!(blanks(&lines.concat()), blanks(&text));
            prop_assert!(lines.iter().all(|line| width(line, 12) <= room), "{lines:?}");
        }

        #[test]
        fn shortened_labels_are_as_distinct_as_the_labels(labels in prop::collection::vec("[ab]{0,30}", 1..8), most in 8usize..20) {
            let short = shortened(&labels, most);
            for (one, shown) in labels.iter().zip(&short) {
                for (other, shown_too) in labels.iter().zip(&short) {
                    prop_assert_eq!(one == other, shown == shown_too, "{:?} {:?}", labels, short);
                }
            }
        }
    }
}
