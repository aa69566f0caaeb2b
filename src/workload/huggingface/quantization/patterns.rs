//! Patterns of module names, as quantized checkpoints list what they convert and what they do not.
//!
//! Three kinds: a name (`lm_head`, `model.layers.0.mlp.gate`), which stands for the module and all
//! in it, and for every module whose name ends with it; a name with `*` for any text; and, behind
//! `re:`, a regular expression. Of these only what checkpoints use is understood: any text, digits,
//! a choice of words, and the ends.

/// A pattern of module names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Pattern {
    /// With `*` for any text; several for a choice of words.
    globs: Vec<String>,
    /// Whether modules inside of what matches match too, and endings where there is no `*`.
    loose: bool,
}

impl Pattern {
    /// Reads a pattern; none if it is a regular expression that is not understood.
    pub fn new(text: &str) -> Option<Self> {
        match text.strip_prefix("re:") {
            Some(expression) => Some(Self { globs: globs(expression)?, loose: false }),
            None => Some(Self { globs: vec![text.to_owned()], loose: true }),
        }
    }

    /// Whether it stands for the module called `name`.
    pub fn matches(&self, name: &str) -> bool {
        self.globs.iter().any(|glob| {
            let inside = || self.loose && matches(&format!("{glob}.*"), name);
            let ends = || self.loose && !glob.contains('*') && matches(&format!("*.{glob}"), name);
            matches(glob, name) || inside() || ends()
        })
    }
}

/// Stands for one digit or more in a glob.
const DIGITS: char = '\u{1}';

/// Whether `name` is `glob`, with `*` for any text and [`DIGITS`]. O(product of their lengths) for
/// the few `*` that patterns have.
fn matches(glob: &str, name: &str) -> bool {
    let mut letters = glob.chars();
    match letters.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = letters.as_str();
            rest.is_empty() || (0..=name.len()).any(|at| name.is_char_boundary(at) && matches(rest, &name[at..]))
        }
        Some(DIGITS) => {
            let digits = name.bytes().take_while(u8::is_ascii_digit).count();
            (1..=digits).any(|at| matches(letters.as_str(), &name[at..]))
        }
        Some(letter) => name.strip_prefix(letter).is_some_and(|name| matches(letters.as_str(), name)),
    }
}

/// The globs that a regular expression stands for, matched from the start of a name.
fn globs(expression: &str) -> Option<Vec<String>> {
    let mut globs = vec![String::new()];
    let mut rest = expression.trim_start_matches('^');
    let push = |globs: &mut Vec<String>, text: &str| globs.iter_mut().for_each(|glob| glob.push_str(text));
    const ANY: [&str; 4] = [".*", ".+", "[^.]+", "\\w+"];
    const NUMBER: [&str; 2] = ["\\d+", "[0-9]+"];
    while !rest.is_empty() {
        if let Some(any) = ANY.iter().find(|any| rest.starts_with(**any)) {
            push(&mut globs, "*");
            rest = rest[any.len()..].trim_start_matches('?');
        } else if let Some(number) = NUMBER.iter().find(|number| rest.starts_with(**number)) {
            push(&mut globs, DIGITS.encode_utf8(&mut [0; 4]));
            rest = &rest[number.len()..];
        } else if rest == "$" {
            return Some(globs);
        } else if let Some(after) = rest.strip_prefix("\\.") {
            push(&mut globs, ".");
            rest = after;
        } else if let Some(choice) = rest.strip_prefix("(?:").or_else(|| rest.strip_prefix('(')) {
            let (words, after) = choice.split_once(')')?;
            let words: Vec<Vec<String>> = words.split('|').map(self::words).collect::<Option<_>>()?;
            let words = words.concat();
            globs = globs.iter().flat_map(|glob| words.iter().map(move |word| format!("{glob}{word}"))).collect();
            rest = after;
            if globs.len() > 256 || rest.starts_with(['?', '*', '+', '{']) {
                return None;
            }
        } else {
            let letter = rest.chars().next()?;
            // A dot alone stands for any letter; in names of modules it is meant as a dot.
            if "\\[]{}?+*|^$".contains(letter) {
                return None;
            }
            push(&mut globs, letter.encode_utf8(&mut [0; 4]));
            rest = &rest[letter.len_utf8()..];
        }
    }
    push(&mut globs, "*");
    Some(globs)
}

/// The words that an alternative of a choice stands for.
fn words(text: &str) -> Option<Vec<String>> {
    let text = text.replace("\\.", ".");
    (!text.contains(|c| "\\[](){}?+*|^$".contains(c))).then(|| vec![text])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(pattern: &str, name: &str) -> bool {
        Pattern::new(pattern).unwrap().matches(name)
    }

    #[test]
    fn names_stand_for_what_is_in_them_and_for_endings() {
        assert!(is("lm_head", "lm_head"));
        assert!(is("model.layers.0.mlp", "model.layers.0.mlp.gate_proj"));
        assert!(!is("model.layers.1", "model.layers.10.mlp"));
        assert!(is("gate", "model.layers.0.mlp.gate") && !is("gate", "model.layers.0.mlp.gate_proj"));
        assert!(is("model.layers.*.self_attn", "model.layers.7.self_attn.q_proj"));
        assert!(is("model.layers.0.linear_attn*", "model.layers.0.linear_attn.in_proj"));
        assert!(is("mtp*", "mtp.layers.0") && !is("mtp*", "model.mtp"));
    }

    #[test]
    fn regular_expressions_of_checkpoints() {
        assert!(is("re:.*self_attn.*", "model.layers.0.self_attn.q_proj"));
        assert!(is("re:.*\\.self_attn\\.q_proj$", "model.layers.0.self_attn.q_proj"));
        assert!(!is("re:.*\\.mlp\\.gate$", "model.layers.0.mlp.gate_proj"));
        assert!(is("re:.*mlp\\.(gate|up|gate_up|down)_proj.*", "model.layers.0.mlp.up_proj"));
        assert!(!is("re:.*mlp\\.(gate|up|gate_up|down)_proj.*", "model.layers.0.mlp.experts.0.up_proj"));
        assert!(is("re:^model\\.layers\\.\\d+\\.mlp", "model.layers.12.mlp.up_proj"));
        assert!(is("re:.*experts\\.\\d+\\.up_proj", "model.layers.0.mlp.experts.12.up_proj"));
        assert!(!is("re:.*experts\\.\\d+.*", "model.layers.0.mlp.shared_experts.up_proj"));
        assert_eq!(Pattern::new("re:a(?=b)"), None);
        assert_eq!(Pattern::new("re:a{2}"), None);
    }
}
