//! Signing up and signing in: a password hash each, which is slow on purpose.

use anyhow::{Context as _, Result};

use crate::connection::Connection;
use crate::measure::{Done, Work};
use crate::row::Row;
use crate::session::{self, Session, SignUp};

/// Users that come at once.
const USERS: usize = 4;

/// Makes one account after the other.
struct Newcomers {
    connection: Connection,
    sign_up: SignUp,
}

impl Work for Newcomers {
    async fn step(&mut self) -> Result<Done> {
        let answer = self.connection.ask(&self.sign_up.next_call()?).await?;
        answer["accessJwt"].as_str().context("a sign-up gives no session")?;
        Ok(Done { count: 1, bytes: 0 })
    }
}

/// New accounts.
pub(super) async fn sign_up(session: &mut Session) -> Result<Row> {
    let makers = (0..USERS).map(|_| {
        let sign_up = session.fork_sign_up();
        Ok(Newcomers { connection: session.connection()?, sign_up })
    });
    let makers = makers.collect::<Result<Vec<_>>>()?;
    Ok(session.measure(makers).await?.without_bytes())
}

/// Sessions by password.
pub(super) async fn login(session: &mut Session) -> Result<Row> {
    let calls = session.accounts(USERS).await?.iter().map(session::login).collect::<Result<Vec<_>>>()?;
    Ok(session.measure_calls(USERS, &calls).await?.without_bytes())
}
