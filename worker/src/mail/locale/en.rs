//! English.

use super::{Locale, Texts};

pub(super) const LOCALE: Locale = Locale {
    tag: "en",
    reset_password: Texts {
        subject: "Password Reset Requested",
        heading: "Reset your password",
        intro: "Somebody, hopefully you, asked for a new password for the account {handle}. Enter this code where you asked for it:",
        button: "",
        warning: "",
        advice: "If it was not you, ignore this mail: your password stays as it is.",
    },
    delete_account: Texts {
        subject: "Account Deletion Requested",
        heading: "Delete your account",
        intro: "Somebody, hopefully you, asked for the account {handle} to be deleted. To confirm this, enter this code:",
        button: "",
        warning: "Deletion is permanent. Posts, likes, follows and everything else in the account will be gone and cannot be brought back.",
        advice: "If it was not you, somebody else can sign in to your account: change your password now, and give this code to nobody.",
    },
    confirm_email: Texts {
        subject: "Email Confirmation",
        heading: "Confirm your email address",
        intro: "This address was given for the account {handle}. To confirm that it is yours, use the button or enter this code:",
        button: "Confirm email address",
        warning: "",
        advice: "If you have no such account, ignore this mail.",
    },
    update_email: Texts {
        subject: "Email Update Requested",
        heading: "Change your email address",
        intro: "Somebody, hopefully you, wants to give the account {handle} another email address. To allow this, enter this code:",
        button: "",
        warning: "",
        advice: "If it was not you, somebody else can sign in to your account: change your password now, and give this code to nobody.",
    },
    plc_operation: Texts {
        subject: "PLC Update Operation Requested",
        heading: "Change your account's identity",
        intro: "Somebody, hopefully you, wants to change the identity of the account {handle}, as when it moves to another server. To allow this, enter this code:",
        button: "",
        warning: "Whoever has this code can move your account away from here for good.",
        advice: "If it was not you, somebody else can sign in to your account: change your password now, and give this code to nobody.",
    },
    expiry: "The code is good for {minutes} minutes.",
    footer: "Sent by {service}. Nobody reads answers to this address.",
    help: "Help",
};
