//! Spanish.

use super::{Locale, Texts};

pub(super) const LOCALE: Locale = Locale {
    tag: "es",
    reset_password: Texts {
        subject: "Solicitud de nueva contraseña",
        heading: "Elige una nueva contraseña",
        intro: "Alguien, esperamos que tú, ha pedido una nueva contraseña para la cuenta {handle}. Introduce este código donde la pediste:",
        button: "",
        warning: "",
        advice: "Si no fuiste tú, ignora este mensaje: tu contraseña no cambia.",
    },
    delete_account: Texts {
        subject: "Solicitud de eliminación de la cuenta",
        heading: "Eliminar tu cuenta",
        intro: "Alguien, esperamos que tú, ha pedido eliminar la cuenta {handle}. Para confirmarlo, introduce este código:",
        button: "",
        warning: "La eliminación es definitiva. Las publicaciones, los me gusta, los seguimientos y todo lo demás de la cuenta desaparecerán y no se podrán recuperar.",
        advice: "Si no fuiste tú, otra persona puede entrar en tu cuenta: cambia tu contraseña ahora mismo y no des este código a nadie.",
    },
    confirm_email: Texts {
        subject: "Confirmación de correo electrónico",
        heading: "Confirma tu correo electrónico",
        intro: "Se indicó esta dirección para la cuenta {handle}. Para confirmar que es tuya, usa el botón o introduce este código:",
        button: "Confirmar correo electrónico",
        warning: "",
        advice: "Si no tienes esa cuenta, ignora este mensaje.",
    },
    update_email: Texts {
        subject: "Solicitud de cambio de correo electrónico",
        heading: "Cambiar tu correo electrónico",
        intro: "Alguien, esperamos que tú, quiere dar otro correo electrónico a la cuenta {handle}. Para permitirlo, introduce este código:",
        button: "",
        warning: "",
        advice: "Si no fuiste tú, otra persona puede entrar en tu cuenta: cambia tu contraseña ahora mismo y no des este código a nadie.",
    },
    plc_operation: Texts {
        subject: "Solicitud de cambio de identidad (PLC)",
        heading: "Cambiar la identidad de tu cuenta",
        intro: "Alguien, esperamos que tú, quiere cambiar la identidad de la cuenta {handle}, por ejemplo para trasladarla a otro servidor. Para permitirlo, introduce este código:",
        button: "",
        warning: "Quien tenga este código puede llevarse tu cuenta de aquí para siempre.",
        advice: "Si no fuiste tú, otra persona puede entrar en tu cuenta: cambia tu contraseña ahora mismo y no des este código a nadie.",
    },
    expiry: "El código es válido durante {minutes} minutos.",
    footer: "Enviado por {service}. Nadie lee las respuestas a esta dirección.",
    help: "Ayuda",
};
