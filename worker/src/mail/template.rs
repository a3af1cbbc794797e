//! Mails with a code, from templates.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};
use chrono::{DateTime, Utc};
use common::account::CodePurpose;
use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value, context};

use super::brand::Brand;
use super::locale::{Locale, Texts};
use super::{Mail, Sender};

/// The name of the templates that are for all mails with a code.
const GENERAL: &str = "code";
/// Where a confirmation's link leads: the app takes the code from there.
const CONFIRMATION_LINK: &str = "https://bsky.app/intent/verify-email?code=";
/// Templates of the operator are no longer than this, in bytes.
const TEMPLATE_LIMIT: u64 = 1_000_000;

/// A code, and who gets it.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a> {
    /// What it is for.
    pub purpose: CodePurpose,
    /// The code.
    pub code: &'a str,
    /// How long it lasts in all, in minutes.
    pub minutes: u64,
    /// When it ends: what tells its mail from all others.
    pub expires_at: DateTime<Utc>,
    /// Where to.
    pub to: &'a str,
    /// The account's handle.
    pub handle: &'a str,
}

/// Ours, and the operator's.
#[derive(Debug)]
pub(super) struct Templates {
    environment: Environment<'static>,
    brand: Brand,
    has_link: bool,
}

impl Templates {
    /// Reads the operator's templates, and tries all.
    pub(super) fn load(folder: Option<&Path>, brand: Brand, has_link: bool) -> anyhow::Result<Self> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build()?);
        environment.add_template("code.html", include_str!("templates/code.html"))?;
        environment.add_template("code.txt", include_str!("templates/code.txt"))?;
        if let Some(folder) = folder {
            add_folder(&mut environment, folder, "")?;
            for locale in Locale::all() {
                let folder = folder.join(locale.tag);
                if folder.is_dir() {
                    add_folder(&mut environment, &folder, &format!("{}/", locale.tag))?;
                }
            }
        }
        let templates = Self { environment, brand, has_link };
        templates.try_all()?;
        Ok(templates)
    }

    /// Writes the mail with a code.
    pub(super) fn code(&self, code: &Code<'_>, wish: Option<&str>) -> anyhow::Result<Mail> {
        self.write(code, Locale::for_wish(wish))
    }

    fn try_all(&self) -> anyhow::Result<()> {
        for locale in Locale::all() {
            for purpose in CodePurpose::ALL {
                let (code, handle) = ("ABCDE-23456", "alice.test");
                let expires_at = DateTime::UNIX_EPOCH;
                let sample = Code { purpose, code, minutes: 15, expires_at, to: "alice@mail.test", handle };
                let mail = self.write(&sample, locale)?;
                for (part, extension) in [(&mail.html, "html"), (&mail.text, "txt")] {
                    let name = self.find(locale, purpose, extension).unwrap_or_default();
                    ensure!(part.contains(code), "{name} does not show the code");
                }
            }
        }
        Ok(())
    }

    fn write(&self, code: &Code<'_>, locale: &'static Locale) -> anyhow::Result<Mail> {
        let texts = locale.texts(code.purpose);
        let values = self.values(code, locale, texts);
        let part = |extension| self.render(locale, code.purpose, extension, &values);
        Ok(Mail {
            sender: Sender::Service,
            to: code.to.to_owned(),
            subject: part("subject.txt")?.unwrap_or_else(|| texts.subject.to_owned()),
            html: part("html")?.unwrap_or_default(),
            text: part("txt")?.unwrap_or_default(),
            language: Some(locale.tag),
            // Not by the code, which others who see the header might then find out by trying.
            identity: format!("{} {}", code.purpose, code.expires_at.timestamp_micros()),
        })
    }

    fn render(
        &self,
        locale: &Locale,
        purpose: CodePurpose,
        extension: &str,
        values: &Value,
    ) -> anyhow::Result<Option<String>> {
        let Some(name) = self.find(locale, purpose, extension) else { return Ok(None) };
        let rendered = self.environment.get_template(&name)?.render(values);
        Ok(Some(rendered.with_context(|| format!("the template {name} fails"))?))
    }

    /// The most special template that there is.
    fn find(&self, locale: &Locale, purpose: CodePurpose, extension: &str) -> Option<String> {
        let (tag, mail) = (locale.tag, purpose.as_str());
        let names = [
            format!("{tag}/{mail}.{extension}"),
            format!("{mail}.{extension}"),
            format!("{tag}/{GENERAL}.{extension}"),
            format!("{GENERAL}.{extension}"),
        ];
        names.into_iter().find(|name| self.environment.get_template(name).is_ok())
    }

    fn values(&self, code: &Code<'_>, locale: &Locale, texts: &Texts) -> Value {
        let link = if self.has_link && code.purpose == CodePurpose::ConfirmEmail {
            format!("{CONFIRMATION_LINK}{}", code.code)
        } else {
            String::new()
        };
        let Brand { service, color } = &self.brand;
        context! {
            lang => locale.tag,
            subject => texts.subject,
            preview => texts.intro.replace("{handle}", code.handle),
            heading => texts.heading,
            intro => texts.intro.replace("{handle}", code.handle),
            button => texts.button,
            warning => texts.warning,
            advice => texts.advice,
            expiry => locale.expiry.replace("{minutes}", &code.minutes.to_string()),
            footer => locale.footer.replace("{service}", &service.name),
            help => locale.help,
            code => code.code,
            handle => code.handle,
            minutes => code.minutes,
            link,
            service => context! {
                name => service.name.as_str(),
                home_url => service.home_url.as_str(),
                logo_url => service.logo_url.as_deref(),
                support_url => service.support_url.as_deref(),
            },
            color => context! { primary => color.primary.as_str(), on_primary => color.on_primary },
        }
    }
}

/// Adds the templates of a folder under names that begin with `prefix`.
fn add_folder(environment: &mut Environment<'static>, folder: &Path, prefix: &str) -> anyhow::Result<()> {
    let shown = folder.display();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {shown}"))? {
        let path = entry.with_context(|| format!("cannot read {shown}"))?.path();
        let is_template = path.extension().is_some_and(|extension| extension == "html" || extension == "txt");
        let Some(name) = path.file_name().and_then(|name| name.to_str()).filter(|_| is_template) else { continue };
        let shown = path.display();
        let length = fs::metadata(&path).with_context(|| format!("cannot read {shown}"))?.len();
        ensure!(length <= TEMPLATE_LIMIT, "{shown} is too long");
        let source = fs::read_to_string(&path).with_context(|| format!("cannot read {shown}"))?;
        let added = environment.add_template_owned(format!("{prefix}{name}"), source);
        added.with_context(|| format!("{shown} is no template"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use common::config::Config;

    use super::*;

    fn code(purpose: CodePurpose) -> Code<'static> {
        let (code, to, handle) = ("ABCDE-23456", "alice@mail.test", "<b>&alice.test");
        Code { purpose, code, minutes: 15, expires_at: DateTime::UNIX_EPOCH, to, handle }
    }

    fn load(folder: Option<&Path>) -> anyhow::Result<Templates> {
        Templates::load(folder, Brand::new(&Config::for_tests().mail()), true)
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn each_code_has_a_mail_of_its_own_that_does_not_give_it_away() {
        let templates = load(None).unwrap();
        let identity = |code: &Code<'_>| templates.code(code, None).unwrap().identity;
        let first = code(CodePurpose::ConfirmEmail);
        let later = Code { expires_at: first.expires_at + chrono::TimeDelta::seconds(1), ..first };
        assert_eq!(identity(&first), identity(&first), "sent twice, it is one mail");
        assert_ne!(identity(&first), identity(&later), "chance may give the same code twice");
        assert_ne!(identity(&first), identity(&code(CodePurpose::UpdateEmail)));
        assert!(!identity(&first).contains(first.code));
    }

    #[test]
    fn every_mail_shows_what_it_must_in_every_language() {
        let mut config = Config::for_tests().mail();
        config.service.name = "Our <PDS>".to_owned();
        config.service.home_url = Some("https://home.test/".to_owned());
        config.service.logo_url = Some("https://home.test/logo.png".to_owned());
        config.service.support_url = Some("https://home.test/help".to_owned());
        config.branding.primary = Some("#aabb01".parse().unwrap());
        let templates = Templates::load(None, Brand::new(&config), true).unwrap();
        for locale in Locale::all() {
            for purpose in CodePurpose::ALL {
                let mail = templates.code(&code(purpose), Some(locale.tag)).unwrap();
                let texts = locale.texts(purpose);
                assert_eq!((mail.subject.as_str(), mail.language), (texts.subject, Some(locale.tag)));
                // Slashes are escaped, too.
                let html = mail.html.replace("&#x2f;", "/");
                for part in [&html, &mail.text] {
                    assert!(part.contains("ABCDE-23456") && part.contains("15") && part.contains("https:"), "{part}");
                    assert!(part.contains(texts.warning) && part.contains(texts.advice), "{part}");
                    let has_link = part.contains("https://bsky.app/intent/verify-email?code=ABCDE-23456");
                    assert_eq!(has_link, purpose == CodePurpose::ConfirmEmail, "{part}");
                    assert!(part.contains("https://home.test/help"), "{part}");
                }
                assert!(mail.text.contains("<b>&alice.test") && mail.text.contains("Our <PDS>"), "{}", mail.text);
                assert!(!mail.html.contains("<b>&alice.test") && !mail.html.contains("Our <PDS>"), "{}", mail.html);
                assert!(html.contains("#aabb01") && html.contains("https://home.test/logo.png"));
                assert!(!mail.text.contains("\n\n\n"), "{}", mail.text);
            }
        }
    }

    #[test]
    fn the_text_of_a_mail() {
        let mail = load(None).unwrap().code(&code(CodePurpose::ConfirmEmail), None).unwrap();
        let expected = "Confirm your email address

This address was given for the account <b>&alice.test. To confirm that it is yours, use the button or enter this code:

    ABCDE-23456

The code is good for 15 minutes.

Confirm email address:
https://bsky.app/intent/verify-email?code=ABCDE-23456

If you have no such account, ignore this mail.

-- 
Sent by localhost PDS. Nobody reads answers to this address.
https://bsky.app
";
        assert_eq!(mail.text.trim_end(), expected.trim_end());
    }

    #[test]
    fn without_the_link_there_is_only_the_code() {
        let templates = Templates::load(None, Brand::new(&Config::for_tests().mail()), false).unwrap();
        let mail = templates.code(&code(CodePurpose::ConfirmEmail), None).unwrap();
        assert!(!mail.html.contains("verify-email") && !mail.text.contains("verify-email"));
    }

    #[test]
    fn the_most_special_template_of_the_operator_is_taken() {
        let folder = folder(&[
            ("code.html", "all {{ code }} {% include 'part.html' %}"),
            ("part.html", "{{ handle }}"),
            ("de/code.html", "alle {{ code }}"),
            ("reset_password.html", "reset {{ code }}"),
            ("reset_password.subject.txt", "Reset for {{ handle }}\n"),
            ("de/reset_password.html", "neu {{ code }}"),
            ("notes.md", "{% nothing to read"),
        ]);
        let templates = load(Some(folder.path())).unwrap();
        let html = |purpose, language| templates.code(&code(purpose), Some(language)).unwrap().html;
        assert_eq!(html(CodePurpose::DeleteAccount, "en"), "all ABCDE-23456 &lt;b&gt;&amp;alice.test");
        assert_eq!(html(CodePurpose::DeleteAccount, "de"), "alle ABCDE-23456");
        assert_eq!(html(CodePurpose::ResetPassword, "fr"), "reset ABCDE-23456");
        assert_eq!(html(CodePurpose::ResetPassword, "de"), "neu ABCDE-23456");
        let mail = templates.code(&code(CodePurpose::ResetPassword), None).unwrap();
        assert_eq!(mail.subject.trim(), "Reset for <b>&alice.test");
        assert!(mail.text.starts_with("Reset your password"), "what is not replaced is ours");
    }

    #[test]
    fn what_does_not_work_is_found_at_start_and_named() {
        for (file, text, words) in [
            ("code.html", "{% if %}", "code.html is no template"),
            ("de/code.txt", "{{ code }} {{ nothing }}", "de/code.txt fails"),
            ("update_email.html", "no code", "update_email.html does not show the code"),
            ("code.html", "{{ code }} {% include 'missing.html' %}", "code.html fails"),
        ] {
            let folder = folder(&[(file, text)]);
            let error = load(Some(folder.path())).unwrap_err();
            assert!(format!("{error:#}").contains(words), "{error:#}");
        }
        let missing = load(Some(Path::new("/nonexistent/templates"))).unwrap_err();
        assert!(format!("{missing:#}").contains("cannot read /nonexistent/templates"));
    }
}
