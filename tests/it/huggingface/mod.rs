//! Published configurations become models.

mod published;
