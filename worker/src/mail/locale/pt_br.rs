//! Portuguese, of Brazil.

use super::{Locale, Texts};

pub(super) const LOCALE: Locale = Locale {
    tag: "pt-BR",
    reset_password: Texts {
        subject: "Solicitação de nova senha",
        heading: "Escolha uma nova senha",
        intro: "Alguém, esperamos que você, pediu uma nova senha para a conta {handle}. Digite este código onde você a pediu:",
        button: "",
        warning: "",
        advice: "Se não foi você, ignore este e-mail: sua senha continua a mesma.",
    },
    delete_account: Texts {
        subject: "Solicitação de exclusão da conta",
        heading: "Excluir sua conta",
        intro: "Alguém, esperamos que você, pediu a exclusão da conta {handle}. Para confirmar, digite este código:",
        button: "",
        warning: "A exclusão é definitiva. Publicações, curtidas, contas seguidas e tudo o mais nesta conta serão perdidos e não poderão ser recuperados.",
        advice: "Se não foi você, outra pessoa consegue entrar na sua conta: troque sua senha agora e não passe este código a ninguém.",
    },
    confirm_email: Texts {
        subject: "Confirmação de e-mail",
        heading: "Confirme seu e-mail",
        intro: "Este endereço foi informado para a conta {handle}. Para confirmar que ele é seu, use o botão ou digite este código:",
        button: "Confirmar e-mail",
        warning: "",
        advice: "Se você não tem essa conta, ignore este e-mail.",
    },
    update_email: Texts {
        subject: "Solicitação de troca de e-mail",
        heading: "Trocar seu e-mail",
        intro: "Alguém, esperamos que você, quer trocar o e-mail da conta {handle}. Para permitir, digite este código:",
        button: "",
        warning: "",
        advice: "Se não foi você, outra pessoa consegue entrar na sua conta: troque sua senha agora e não passe este código a ninguém.",
    },
    plc_operation: Texts {
        subject: "Solicitação de mudança de identidade (PLC)",
        heading: "Mudar a identidade da sua conta",
        intro: "Alguém, esperamos que você, quer mudar a identidade da conta {handle}, por exemplo para levá-la a outro servidor. Para permitir, digite este código:",
        button: "",
        warning: "Quem tiver este código pode levar sua conta embora daqui para sempre.",
        advice: "Se não foi você, outra pessoa consegue entrar na sua conta: troque sua senha agora e não passe este código a ninguém.",
    },
    expiry: "O código vale por {minutes} minutos.",
    footer: "Enviado por {service}. Ninguém lê as respostas a este endereço.",
    help: "Ajuda",
};
