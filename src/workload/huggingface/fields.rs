//! The fields of a configuration: looked up by name, checked, and marked as read.
//!
//! Families name the same thing differently: `num_hidden_layers`, `n_layer`, `num_layers`. A lookup
//! takes all names of a thing ([`names`](super::names)); where a file gives several of them, they
//! must agree. Null is the same as absent. What nothing has read at the end of an import is
//! reported by [`Fields::unread`], so that no field is passed over in silence.

use super::notes::Notes;
use super::refusal::{BY_HAND, Refusal};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

/// The fields of one object of a configuration.
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    /// Its dotted path and a dot, or nothing for the outermost object.
    path: String,
    notes: &'a Notes,
    read: Rc<RefCell<BTreeSet<String>>>,
    /// What its family has where the file does not say.
    defaults: &'static [(&'static str, u32)],
}

impl<'a> Fields<'a> {
    pub fn new(object: &'a Map<String, Value>, path: &str, notes: &'a Notes) -> Self {
        let path = if path.is_empty() { String::new() } else { format!("{path}.") };
        Self { object, path, notes, read: Rc::default(), defaults: &[] }
    }

    /// The same fields, with what the family has where the file leaves a number out; that is noted.
    pub fn assuming(&self, defaults: &'static [(&'static str, u32)]) -> Self {
        Self { path: self.path.clone(), read: Rc::clone(&self.read), defaults, ..*self }
    }

    pub fn notes(&self) -> &'a Notes {
        self.notes
    }

    /// The dotted path of `name`, as messages have it.
    pub fn path(&self, name: &str) -> String {
        format!("{}{name}", self.path)
    }

    /// The value of `name`, unless it is null.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        let value = self.object.get(name)?;
        self.read.borrow_mut().insert(name.to_owned());
        (!value.is_null()).then_some(value)
    }

    /// Marks `names` as read: they are known, and change nothing.
    pub fn seen(&self, names: &[&str]) {
        self.read.borrow_mut().extend(names.iter().map(|name| (*name).to_owned()));
    }

    /// The names that nothing has read, with their values.
    pub fn unread(&self) -> Vec<(&'a str, &'a Value)> {
        let read = self.read.borrow();
        self.object
            .iter()
            .filter(|(name, _)| !read.contains(*name))
            .map(|(name, value)| (name.as_str(), value))
            .collect()
    }

    /// The object called `name`.
    pub fn object(&self, name: &str) -> Result<Option<Fields<'a>>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Fields::new(object, &self.path(name), self.notes))),
            Some(other) => Err(Refusal::value(self.path(name), other, "is no object: fetch the configuration again")),
        }
    }

    /// The number from 0 that one of `names` has; where several have one, it must be the same.
    pub fn optional(&self, names: &[&str]) -> Result<Option<u32>, Refusal> {
        let mut found: Option<(&str, u32)> = None;
        for name in names {
            let Some(value) = self.get(name) else { continue };
            let count = self.count_of(name, value)?;
            match found {
                Some((other, before)) if before != count => {
                    let problem =
                        format!("contradicts {other}: {before}: both name the same thing: correct one of them");
                    return Err(Refusal::value(self.path(name), count, problem));
                }
                _ => found = Some((name, count)),
            }
        }
        if let (None, Some((name, default))) = (found, self.defaults.iter().find(|(name, _)| names.contains(name))) {
            self.assume(name, *default);
            return Ok(Some(*default));
        }
        Ok(found.map(|(_, count)| count))
    }

    /// Notes a default.
    pub fn assume(&self, name: &str, default: u32) {
        self.notes
            .assumed(format!("{} = {default}: it is not given, and this is the family's default", self.path(name)));
    }

    /// The same, which must be there and be at least 1.
    pub fn count(&self, names: &[&str]) -> Result<u32, Refusal> {
        match self.at_least_1(names)? {
            Some(count) => Ok(count),
            None => Err(Refusal::missing(
                self.path(names[0]),
                format!("a model cannot be built without it: add it as the model has it, or {BY_HAND}"),
            )),
        }
    }

    /// The same, with what the family has where the file does not say; this is noted.
    pub fn count_or(&self, names: &[&str], default: u32) -> Result<u32, Refusal> {
        if let Some(count) = self.at_least_1(names)? {
            return Ok(count);
        }
        self.assume(names[0], default);
        Ok(default)
    }

    /// At least 1, where it is there.
    pub fn at_least_1(&self, names: &[&str]) -> Result<Option<u32>, Refusal> {
        match self.optional(names)? {
            Some(0) => {
                let name = names.iter().find(|name| self.get(name).is_some()).unwrap_or(&names[0]);
                Err(Refusal::value(self.path(name), 0, "is too few: it goes from 1: correct it"))
            }
            count => Ok(count),
        }
    }

    fn count_of(&self, name: &str, value: &Value) -> Result<u32, Refusal> {
        let whole = match value {
            Value::Number(number) => number.as_u64().or_else(|| {
                let float = number.as_f64()?;
                (float.fract() == 0.0 && (0.0..1.8e19).contains(&float)).then_some(float as u64)
            }),
            _ => None,
        };
        let Some(whole) = whole else {
            return Err(Refusal::value(self.path(name), value, "is no whole number from 0: correct it"));
        };
        u32::try_from(whole).ok().filter(|count| *count <= MOST).ok_or_else(|| {
            Refusal::value(self.path(name), whole, format!("is more than {MOST}, which no model has: correct it"))
        })
    }

    /// The truth value of `name`, where it is there.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(Refusal::value(self.path(name), other, "is neither true nor false: correct it")),
        }
    }

    /// The text of `name`, where it is there.
    pub fn word(&self, name: &str) -> Result<Option<&'a str>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(word)) => Ok(Some(word)),
            Some(other) => Err(Refusal::value(self.path(name), other, "is no text: correct it")),
        }
    }

    /// The list of `name`, where it is there.
    pub fn list(&self, name: &str) -> Result<Option<&'a [Value]>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(other) => Err(Refusal::value(self.path(name), other, "is no list: correct it")),
        }
    }

    /// The list of whole numbers of `name`, where it is there.
    pub fn numbers(&self, name: &str) -> Result<Option<Vec<u32>>, Refusal> {
        let Some(list) = self.list(name)? else { return Ok(None) };
        list.iter()
            .enumerate()
            .map(|(index, value)| self.count_of(&format!("{name}[{index}]"), value))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// The list of texts of `name`, where it is there.
    pub fn words(&self, name: &str) -> Result<Option<Vec<&'a str>>, Refusal> {
        let Some(list) = self.list(name)? else { return Ok(None) };
        let word = |(index, value): (usize, &'a Value)| {
            let field = || self.path(&format!("{name}[{index}]"));
            value.as_str().ok_or_else(|| Refusal::value(field(), value, "is no text: correct it"))
        };
        list.iter().enumerate().map(word).collect::<Result<_, _>>().map(Some)
    }

    /// One number for each layer: a list of as many as there are layers, or one for all of them.
    pub fn per_layer(&self, names: &[&str], layers: u32) -> Result<Option<Vec<u32>>, Refusal> {
        for name in names {
            if let Some(Value::Array(list)) = self.get(name) {
                self.check_length(name, list.len(), layers)?;
                return self.numbers(name);
            }
        }
        Ok(self.optional(names)?.map(|count| vec![count; layers as usize]))
    }

    /// Whether the file has `name`, be it as null.
    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// Whether a list that has an entry for each layer has as many.
    pub fn check_length(&self, name: &str, length: usize, layers: u32) -> Result<(), Refusal> {
        if length == layers as usize {
            return Ok(());
        }
        let problem =
            format!("entries contradict the number of layers, {layers}: each layer needs one: correct either");
        Err(Refusal::value(self.path(name), length, problem))
    }
}

/// Whether a family has something: fixed by its code, or said by a field with this default.
#[derive(Clone, Copy)]
pub(super) enum Says {
    No,
    Yes,
    Field(&'static str, bool),
}

impl Says {
    pub fn of(self, fields: &Fields<'_>) -> Result<bool, Refusal> {
        match self {
            Self::No => Ok(false),
            Self::Yes => Ok(true),
            Self::Field(name, default) => Ok(fields.flag(name)?.unwrap_or(default)),
        }
    }
}

/// The largest number that is read: a width of a matrix, a count of words, a count of tokens.
const MOST: u32 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str, read: impl Fn(&Fields<'_>) -> Result<u32, Refusal>) -> String {
        let value: Map<String, Value> = serde_json::from_str(json).unwrap();
        let notes = Notes::default();
        read(&Fields::new(&value, "text_config", &notes)).unwrap_err().to_string()
    }

    #[test]
    fn numbers_are_checked() {
        let count = |fields: &Fields<'_>| fields.count(&["n", "m"]);
        for (json, words) in [
            ("{}", ["text_config.n:", "missing"]),
            ("{\"n\": null}", ["text_config.n:", "missing"]),
            ("{\"m\": 0}", ["text_config.m: 0", "from 1"]),
            ("{\"n\": -1}", ["text_config.n: -1", "no whole number"]),
            ("{\"n\": 1.5}", ["text_config.n: 1.5", "no whole number"]),
            ("{\"n\": \"8\"}", ["text_config.n: \"8\"", "no whole number"]),
            ("{\"n\": 1000000000000}", ["text_config.n: 1000000000000", "more than"]),
            ("{\"n\": 1e308}", ["text_config.n: 1e+308", "no whole number"]),
            ("{\"n\": 2, \"m\": 3}", ["text_config.m: 3", "contradicts n: 2"]),
        ] {
            let message = refused(json, count);
            assert!(words.iter().all(|word| message.contains(word)), "{json}: {message}");
        }
    }

    #[test]
    fn what_is_not_read_is_known() {
        let value: Map<String, Value> = serde_json::from_str("{\"n\": 8.0, \"m\": 8, \"other\": [1]}").unwrap();
        let notes = Notes::default();
        let fields = Fields::new(&value, "", &notes);
        assert_eq!(fields.count(&["n", "m"]), Ok(8));
        assert_eq!(fields.unread().iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["other"]);
        assert_eq!(fields.per_layer(&["n"], 3), Ok(Some(vec![8; 3])));
        assert!(
            fields.per_layer(&["other"], 3).unwrap_err().to_string().contains("contradict the number of layers, 3")
        );
    }
}
