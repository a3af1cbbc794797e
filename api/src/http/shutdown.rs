//! Stopping without dropping anybody.

use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture},
    task::TaskTracker,
};

/// The stop signal of one server, and the tasks that a stop waits for; clones share both.
///
/// A WebSocket leaves the HTTP connection that it came with, so the accept loop cannot wait for it. Its task is run
/// through [`Shutdown::tasks`] and closes its socket once [`Shutdown::requested`] resolves.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    draining: CancellationToken,
    signal: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Announces a stop: the server is not ready any more, and does all the same what it is asked, until load balancers
    /// have noticed.
    pub fn drain(&self) {
        self.draining.cancel();
    }

    /// True once a stop was announced or asked for.
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Asks everything to stop.
    pub fn request(&self) {
        self.drain();
        self.signal.cancel();
        self.tasks.close();
    }

    /// True once a stop was asked for.
    pub fn is_requested(&self) -> bool {
        self.signal.is_cancelled()
    }

    /// Resolves once a stop was asked for.
    pub fn requested(&self) -> WaitForCancellationFuture<'_> {
        self.signal.cancelled()
    }

    /// A signal that fires with this one, for code that knows nothing of servers.
    pub fn child_token(&self) -> CancellationToken {
        self.signal.child_token()
    }

    /// Tasks that outlive their connection, such as a sign-up whose caller has left: `tasks().track_future(…)` counts one, `tasks().spawn(…)` also starts it.
    pub fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }
}
