//! German.

use super::{Locale, Texts};

pub(super) const LOCALE: Locale = Locale {
    tag: "de",
    reset_password: Texts {
        subject: "Passwort zurücksetzen",
        heading: "Neues Passwort festlegen",
        intro: "Jemand, hoffentlich du, hat für das Konto {handle} ein neues Passwort angefordert. Gib diesen Code dort ein, wo du es angefordert hast:",
        button: "",
        warning: "",
        advice: "Falls du das nicht warst, ignoriere diese E-Mail: Dein Passwort bleibt, wie es ist.",
    },
    delete_account: Texts {
        subject: "Löschung deines Kontos angefordert",
        heading: "Konto löschen",
        intro: "Jemand, hoffentlich du, möchte das Konto {handle} löschen. Gib zur Bestätigung diesen Code ein:",
        button: "",
        warning: "Das Löschen ist endgültig. Beiträge, Likes, Follows und alles andere in diesem Konto sind danach fort und lassen sich nicht wiederherstellen.",
        advice: "Falls du das nicht warst, kann sich jemand anderes in deinem Konto anmelden: Ändere sofort dein Passwort und gib diesen Code niemandem.",
    },
    confirm_email: Texts {
        subject: "E-Mail-Adresse bestätigen",
        heading: "Bestätige deine E-Mail-Adresse",
        intro: "Diese Adresse wurde für das Konto {handle} angegeben. Wenn sie dir gehört, nutze den Knopf oder gib diesen Code ein:",
        button: "E-Mail-Adresse bestätigen",
        warning: "",
        advice: "Falls du kein solches Konto hast, ignoriere diese E-Mail.",
    },
    update_email: Texts {
        subject: "Änderung der E-Mail-Adresse angefordert",
        heading: "E-Mail-Adresse ändern",
        intro: "Jemand, hoffentlich du, möchte dem Konto {handle} eine andere E-Mail-Adresse geben. Gib diesen Code ein, um das zu erlauben:",
        button: "",
        warning: "",
        advice: "Falls du das nicht warst, kann sich jemand anderes in deinem Konto anmelden: Ändere sofort dein Passwort und gib diesen Code niemandem.",
    },
    plc_operation: Texts {
        subject: "Änderung deiner Identität angefordert (PLC)",
        heading: "Identität deines Kontos ändern",
        intro: "Jemand, hoffentlich du, möchte die Identität des Kontos {handle} ändern, etwa um mit ihm auf einen anderen Server umzuziehen. Gib diesen Code ein, um das zu erlauben:",
        button: "",
        warning: "Wer diesen Code hat, kann dein Konto für immer von hier wegnehmen.",
        advice: "Falls du das nicht warst, kann sich jemand anderes in deinem Konto anmelden: Ändere sofort dein Passwort und gib diesen Code niemandem.",
    },
    expiry: "Der Code gilt {minutes} Minuten.",
    footer: "Gesendet von {service}. Antworten an diese Adresse liest niemand.",
    help: "Hilfe",
};
