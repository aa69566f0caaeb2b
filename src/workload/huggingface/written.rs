//! A model file's text, as a person would write it: a layer a line, and only what is not the
//! default.

use super::Imported;
use ron::extensions::Extensions;
use ron::ser::{PrettyConfig, to_string_pretty};

impl Imported {
    /// The RON file of the model, with what was assumed and ignored as comments. `source` is what
    /// the configuration is called.
    #[must_use]
    pub fn text(&self, source: &str) -> String {
        let mut text = format!("// From {} by `tiersim model import`.\n", one_line(source));
        for (what, sentences) in [("Assumed", &self.assumed), ("Ignored", &self.ignored)] {
            for sentence in sentences {
                text.push_str(&format!("// {what}: {}\n", one_line(sentence)));
            }
        }
        let pretty = PrettyConfig::new()
            .new_line("\n")
            .struct_names(false)
            // The model, its architecture, the blocks, a block, and its layers, one a line.
            .depth_limit(DEPTH)
            .extensions(Extensions::IMPLICIT_SOME | Extensions::UNWRAP_NEWTYPES | Extensions::UNWRAP_VARIANT_NEWTYPES);
        // Numbers, words and lists of them can always be written.
        let model = to_string_pretty(&self.model, pretty).unwrap_or_default();
        // What is read back with these extensions needs no lines that enable them.
        let model = model.lines().filter(|line| !line.starts_with("#![")).collect::<Vec<_>>().join("\n");
        text.push_str("LanguageModel");
        text.push_str(model.trim());
        text.push('\n');
        text
    }
}

const DEPTH: usize = 5;

/// Names come from files; a comment ends with its line.
fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
