//! The languages of our mails.
//!
//! Every language is a constant of the same type, so the compiler sees to it that none lacks a text. `{handle}`, `{service}`
//! and `{minutes}` stand for what they say.

mod de;
mod en;
mod es;
mod fr;
mod ja;
mod pt_br;

use common::account::CodePurpose;

/// A language, and all we say in it.
#[derive(Debug)]
pub(super) struct Locale {
    /// Its tag, as in `Content-Language`.
    pub(super) tag: &'static str,
    pub(super) reset_password: Texts,
    pub(super) delete_account: Texts,
    pub(super) confirm_email: Texts,
    pub(super) update_email: Texts,
    pub(super) plc_operation: Texts,
    /// How long the code lasts: `{minutes}`.
    pub(super) expiry: &'static str,
    /// Who sent it: `{service}`.
    pub(super) footer: &'static str,
    /// A link to the operator's help.
    pub(super) help: &'static str,
}

/// What a mail with a code says.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) subject: &'static str,
    pub(super) heading: &'static str,
    /// What was asked for, for `{handle}`, and what the code is for.
    pub(super) intro: &'static str,
    /// What a link does that stands for the code.
    pub(super) button: &'static str,
    /// What cannot be undone.
    pub(super) warning: &'static str,
    /// What to do if it was somebody else.
    pub(super) advice: &'static str,
}

/// The first is for everybody whose language is none of these.
const LOCALES: [&Locale; 6] = [&en::LOCALE, &de::LOCALE, &es::LOCALE, &fr::LOCALE, &ja::LOCALE, &pt_br::LOCALE];

/// A wish is read up to here.
const WISH_LIMIT: usize = 200;

impl Locale {
    /// All languages.
    pub(super) fn all() -> impl Iterator<Item = &'static Self> {
        LOCALES.into_iter()
    }

    /// The language that fits a wish best: a tag as `pt-BR`, or a list as in the header `Accept-Language`.
    pub(super) fn for_wish(wish: Option<&str>) -> &'static Self {
        let wish = wish.unwrap_or_default();
        let wish = &wish[..wish.floor_char_boundary(WISH_LIMIT)];
        let mut wanted: Vec<(&str, f32)> = wish.split(',').filter_map(weighed).collect();
        // Stable: of equals the first.
        wanted.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        wanted.iter().find_map(|(tag, _)| Self::find(tag)).unwrap_or(LOCALES[0])
    }

    pub(super) fn texts(&self, purpose: CodePurpose) -> &Texts {
        match purpose {
            CodePurpose::ResetPassword => &self.reset_password,
            CodePurpose::DeleteAccount => &self.delete_account,
            CodePurpose::ConfirmEmail => &self.confirm_email,
            CodePurpose::UpdateEmail => &self.update_email,
            CodePurpose::PlcOperation => &self.plc_operation,
        }
    }

    /// Whoever reads Portuguese of Portugal rather reads that of Brazil than English.
    fn find(tag: &str) -> Option<&'static Self> {
        let language = |tag: &str| tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        LOCALES.into_iter().find(|locale| language(locale.tag) == language(tag))
    }
}

/// A tag and its weight; `None` for what is not wanted, or no tag.
fn weighed(part: &str) -> Option<(&str, f32)> {
    let (tag, parameters) = part.split_once(';').unwrap_or((part, ""));
    let weight = parameters.trim().strip_prefix("q=").map_or(Some(1.0), |weight| weight.parse().ok())?;
    (weight > 0.0 && !tag.trim().is_empty()).then_some((tag.trim(), weight))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wish_decides_and_english_is_for_all_others() {
        for (wish, tag) in [
            ("de", "de"),
            ("de-CH", "de"),
            ("pt", "pt-BR"),
            ("pt_PT", "pt-BR"),
            ("JA", "ja"),
            ("fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "fr"),
            ("en;q=0.5,es;q=0.9", "es"),
            ("tlh, de;q=0.3", "de"),
            ("fr;q=0, de;q=0.1", "de"),
            ("tlh", "en"),
            ("", "en"),
            (",;q=1,;;,-", "en"),
            ("de;q=nan", "en"),
            ("ü", "en"),
        ] {
            assert_eq!(Locale::for_wish(Some(wish)).tag, tag, "{wish}");
        }
        assert_eq!(Locale::for_wish(None).tag, "en");
        assert_eq!(Locale::for_wish(Some(&"ü,".repeat(1000))).tag, "en");
    }

    #[test]
    fn every_text_has_its_places_and_no_others() {
        for locale in Locale::all() {
            assert!(locale.expiry.contains("{minutes}") && locale.footer.contains("{service}"), "{}", locale.tag);
            for purpose in CodePurpose::ALL {
                let texts = locale.texts(purpose);
                assert!(texts.intro.contains("{handle}"), "{}: {}", locale.tag, texts.intro);
                for text in [texts.subject, texts.heading, texts.button, texts.warning, texts.advice] {
                    assert!(!text.contains('{'), "{}: {text}", locale.tag);
                }
                assert!(!texts.subject.is_empty() && !texts.heading.is_empty() && !texts.advice.is_empty());
                assert_eq!(texts.button.is_empty(), purpose != CodePurpose::ConfirmEmail, "{}", locale.tag);
            }
        }
    }
}
