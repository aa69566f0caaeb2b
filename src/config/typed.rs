use serde_json::Value;

/// A value as a person types it after `--set PATH=` or in an axis: JSON (`0.4`, `true`, `null`,
/// `{...}`) or else text (`8GiB`), so that neither names nor sizes need quotes.
///
/// ```
/// use tiersim::config::typed;
/// assert_eq!(typed("0.4"), 0.4);
/// assert_eq!(typed("8GiB"), "8GiB");
/// assert_eq!(typed("\"0.4\""), "0.4");
/// ```
#[must_use]
pub fn typed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}
