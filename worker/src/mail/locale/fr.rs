//! French.

use super::{Locale, Texts};

pub(super) const LOCALE: Locale = Locale {
    tag: "fr",
    reset_password: Texts {
        subject: "Demande de nouveau mot de passe",
        heading: "Choisissez un nouveau mot de passe",
        intro: "Quelqu’un, vous sans doute, a demandé un nouveau mot de passe pour le compte {handle}. Saisissez ce code là où vous l’avez demandé :",
        button: "",
        warning: "",
        advice: "Si ce n’était pas vous, ignorez ce message : votre mot de passe reste inchangé.",
    },
    delete_account: Texts {
        subject: "Demande de suppression du compte",
        heading: "Supprimer votre compte",
        intro: "Quelqu’un, vous sans doute, a demandé la suppression du compte {handle}. Pour confirmer, saisissez ce code :",
        button: "",
        warning: "La suppression est définitive. Publications, mentions J’aime, abonnements et tout le reste du compte disparaîtront sans retour possible.",
        advice: "Si ce n’était pas vous, une autre personne peut se connecter à votre compte : changez votre mot de passe immédiatement et ne donnez ce code à personne.",
    },
    confirm_email: Texts {
        subject: "Confirmation de l’adresse e-mail",
        heading: "Confirmez votre adresse e-mail",
        intro: "Cette adresse a été indiquée pour le compte {handle}. Pour confirmer qu’elle est la vôtre, utilisez le bouton ou saisissez ce code :",
        button: "Confirmer l’adresse e-mail",
        warning: "",
        advice: "Si vous n’avez pas de compte de ce nom, ignorez ce message.",
    },
    update_email: Texts {
        subject: "Demande de changement d’adresse e-mail",
        heading: "Changer d’adresse e-mail",
        intro: "Quelqu’un, vous sans doute, souhaite donner une autre adresse e-mail au compte {handle}. Pour l’autoriser, saisissez ce code :",
        button: "",
        warning: "",
        advice: "Si ce n’était pas vous, une autre personne peut se connecter à votre compte : changez votre mot de passe immédiatement et ne donnez ce code à personne.",
    },
    plc_operation: Texts {
        subject: "Demande de modification de l’identité (PLC)",
        heading: "Modifier l’identité de votre compte",
        intro: "Quelqu’un, vous sans doute, souhaite modifier l’identité du compte {handle}, par exemple pour le déplacer vers un autre serveur. Pour l’autoriser, saisissez ce code :",
        button: "",
        warning: "Quiconque possède ce code peut emporter votre compte ailleurs, définitivement.",
        advice: "Si ce n’était pas vous, une autre personne peut se connecter à votre compte : changez votre mot de passe immédiatement et ne donnez ce code à personne.",
    },
    expiry: "Ce code est valable {minutes} minutes.",
    footer: "Envoyé par {service}. Personne ne lit les réponses à cette adresse.",
    help: "Aide",
};
