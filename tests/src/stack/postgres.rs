//! A private Postgres server.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use nix::sys::signal::Signal;
use nix::unistd::{Uid, User};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::process::{Launch, Server};
use super::{port, secret};

/// The oldest release that has what the migrations use.
const OLDEST_MAJOR: u32 = 14;
/// Where Debian and Ubuntu keep the programs of each release.
const DEBIAN_RELEASES: &str = "/usr/lib/postgresql";
/// The role that owns everything.
const SUPERUSER: &str = "postgres";
/// The permission to pass through a folder, for everybody.
const SEARCH_BY_ALL: u32 = 0o001;
/// Time to finish the shutdown checkpoint.
const STOP_GRACE: Duration = Duration::from_secs(30);

/// How much a crash of the machine may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Durability {
    /// Nothing that was committed.
    Full,
    /// Everything; but a crash of Postgres alone costs nothing that was committed. For tests of just that.
    Memory,
    /// Everything: nothing is flushed. For tests.
    None,
}

/// A Postgres server of our own; it stops when this is dropped.
#[derive(Debug)]
pub struct Postgres {
    server: Server,
    programs: PathBuf,
    data: PathBuf,
    durability: Durability,
    port: u16,
    password: String,
    /// Removed after the server has been told to stop: fields are dropped in this order.
    _temporary: Option<TempDir>,
}

impl Postgres {
    /// Starts a server with its files in `dir`, which is made at the first start, and its log in `log`.
    ///
    /// Postgres refuses to run as root: then it runs as the user `postgres`, who must be able to reach `dir`
    /// ([`Postgres::can_reach`]) and is made its owner.
    ///
    /// # Errors
    /// Postgres 14 or later is not installed, or does not start.
    pub async fn start(dir: &Path, log: &Path, durability: Durability) -> Result<Self> {
        let user = server_user()?;
        let password = prepare_dir(dir, user.as_ref())?;
        let data = dir.join("data");
        let programs = find_programs(&data)?;
        if !data.join("PG_VERSION").exists() {
            init(&programs, dir, &data, user.as_ref()).await?;
        }
        predecessor_ended(&data).await?;
        port::with_free(async |port| {
            let mut server = launch(&programs, &data, port, durability, user.as_ref()).spawn(log)?;
            server.until_ready(async || is_ready(&programs, port).await).await?;
            let (programs, data, password) = (programs.clone(), data.clone(), password.clone());
            Ok(Self { server, programs, data, durability, port, password, _temporary: None })
        })
        .await
    }

    /// Starts an empty server for tests whose files are removed afterwards.
    ///
    /// # Errors
    /// As [`Postgres::start`].
    pub async fn temporary() -> Result<Self> {
        let dir = Self::temporary_folder("rookery-postgres-")?;
        let postgres = Self::start(dir.path(), &dir.path().join("log"), Durability::None).await?;
        Ok(Self { _temporary: Some(dir), ..postgres })
    }

    /// Makes a temporary folder in a place that Postgres can reach.
    pub(super) fn temporary_folder(prefix: &str) -> Result<TempDir> {
        let parents = [std::env::temp_dir(), PathBuf::from("/var/tmp")];
        let parent = parents.iter().find(|parent| Self::can_reach(parent)).context("Postgres cannot reach /tmp")?;
        Ok(tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?)
    }

    /// Whether the user that Postgres would run as can reach files below `dir`, which need not exist yet.
    pub fn can_reach(dir: &Path) -> bool {
        let closed = |path: &Path| fs::metadata(path).is_ok_and(|found| found.mode() & SEARCH_BY_ALL == 0);
        !Uid::effective().is_root() || !dir.ancestors().any(closed)
    }

    /// The URL of a database of this server, with the role that may do anything.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// Makes the database `name` unless it exists.
    ///
    /// # Errors
    /// The server refuses.
    pub async fn ensure_database(&self, name: &str) -> Result<()> {
        match self.client("createdb").args([name]).finish().await {
            Err(error) if !error.to_string().contains("already exists") => Err(error),
            _ => Ok(()),
        }
    }

    /// Runs SQL in a session of its own and gives what it says: a line a row, columns divided by `|`.
    ///
    /// # Errors
    /// The server cannot be reached, or refuses.
    pub async fn query(&self, database: &str, sql: &str) -> Result<String> {
        self.psql(database, sql).read().await
    }

    /// Begins to run SQL in a session of its own, which ends with it. What it says goes to `log`.
    ///
    /// # Errors
    /// The client is not installed.
    pub fn begin(&self, database: &str, sql: &str, log: &Path) -> Result<Server> {
        self.psql(database, sql).spawn(log)
    }

    fn psql(&self, database: &str, sql: &str) -> Launch {
        self.client("psql")
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1"])
            .args([format!("--dbname={database}"), format!("--command={sql}")])
    }

    /// One of Postgres' own clients, told where the server is.
    fn client(&self, program: &str) -> Launch {
        Launch::new(program, self.programs.join(program))
            .args(["--host=127.0.0.1", &format!("--port={}", self.port), "--username", SUPERUSER])
            .envs([("PGPASSWORD", self.password.as_str()), ("LC_ALL", "C")])
    }

    /// Ends the server for a while, with the signal of one of its ways to shut down: SIGINT breaks all connections first,
    /// SIGQUIT leaves everything as it stands, so that the next start has to recover. See [`Postgres::start_again`].
    ///
    /// # Errors
    /// The process cannot be waited for.
    pub async fn end(&mut self, signal: Signal) -> Result<()> {
        self.server.signal(signal);
        self.server.ended().await.map(drop)
    }

    /// Starts the server again after [`Postgres::end`], on the same port, and waits until it takes connections.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        let user = server_user()?;
        let launch = launch(&self.programs, &self.data, self.port, self.durability, user.as_ref());
        self.server = launch.spawn(self.server.log())?;
        self.server.until_ready(async || is_ready(&self.programs, self.port).await).await
    }

    /// Stops the server, closing the connections of clients.
    ///
    /// # Errors
    /// The process can be neither stopped nor killed.
    pub async fn stop(self) -> Result<()> {
        self.server.stop(STOP_GRACE).await
    }

    /// The process.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The process, to wait for its end.
    pub fn server_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}

/// The user to run as: `None` for our own, or an unprivileged one if we are root.
fn server_user() -> Result<Option<User>> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let Some(user) = User::from_name(name)? {
            return Ok(Some(user));
        }
    }
    bail!("Postgres does not run as root, and there is no user postgres or nobody")
}

/// Makes `dir` ready for `user`, and returns the password kept in it.
fn prepare_dir(dir: &Path, user: Option<&User>) -> Result<String> {
    fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    let password_file = dir.join("password");
    let password = secret::kept_in(&password_file)?;
    if let Some(user) = user {
        for path in [dir, &password_file] {
            chown(path, Some(user.uid.as_raw()), Some(user.gid.as_raw()))
                .with_context(|| format!("cannot give {} to {}", path.display(), user.name))?;
        }
    }
    Ok(password)
}

/// The folder with the programs: of the release that made `data`, else of the newest one installed.
fn find_programs(data: &Path) -> Result<PathBuf> {
    let made_by = fs::read_to_string(data.join("PG_VERSION")).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let installed = fs::read_dir(DEBIAN_RELEASES).into_iter().flatten().flatten().filter_map(|entry| {
        let major = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let programs = entry.path().join("bin");
        (major >= OLDEST_MAJOR && programs.join("initdb").exists()).then_some((major, programs))
    });
    installed
        .filter(|(major, _)| made_by.is_none_or(|made_by| *major == made_by))
        .max()
        .map(|(_, programs)| programs)
        .ok_or_else(|| match made_by {
            Some(major) => anyhow!("{} was made by Postgres {major}, which is not installed", data.display()),
            None => anyhow!("Postgres {OLDEST_MAJOR} or later is not installed: install the package postgresql"),
        })
}

/// Makes the files of an empty server. A folder left half made by a crash has no `PG_VERSION` at its end and is removed.
async fn init(programs: &Path, dir: &Path, data: &Path, user: Option<&User>) -> Result<()> {
    let draft = dir.join("data.new");
    if draft.exists() {
        fs::remove_dir_all(&draft)?;
    }
    let initdb = Launch::prepare("initdb".to_owned(), programs.join("initdb").as_os_str(), Signal::SIGTERM, user)
        .args([
            "--username",
            SUPERUSER,
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-instructions",
        ])
        .args([format!("--pwfile={}", dir.join("password").display()), format!("--pgdata={}", draft.display())])
        .current_dir(dir);
    initdb.finish().await?;
    fs::rename(&draft, data).with_context(|| format!("cannot make {}", data.display()))
}

/// Waits for a server of a stack that was killed: it was told to stop, and may still be writing.
async fn predecessor_ended(data: &Path) -> Result<()> {
    let lock = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
    let process = Path::new("/proc").join(lock.lines().next().unwrap_or_default()).join("cmdline");
    // The number may belong to a stranger by now.
    let runs = || fs::read_to_string(&process).is_ok_and(|command| command.contains(&*data.to_string_lossy()));
    let deadline = Instant::now() + STOP_GRACE;
    while runs() {
        if Instant::now() > deadline {
            bail!("another Postgres uses {} and does not stop", data.display());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// The command that runs the server. SIGINT is Postgres' fast shutdown; SIGTERM would wait for its clients.
fn launch(programs: &Path, data: &Path, port: u16, durability: Durability, user: Option<&User>) -> Launch {
    let port = port.to_string();
    let mut settings = vec![
        ("listen_addresses", "127.0.0.1"),
        ("port", &port),
        ("unix_socket_directories", ""),
        ("max_connections", "300"),
        ("log_checkpoints", "off"),
    ];
    if durability != Durability::Full {
        settings.extend([("fsync", "off"), ("full_page_writes", "off")]);
    }
    if durability == Durability::None {
        settings.push(("synchronous_commit", "off"));
    }
    Launch::prepare("Postgres".to_owned(), programs.join("postgres").as_os_str(), Signal::SIGINT, user)
        .args([Path::new("-D"), data])
        .args(settings.into_iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]))
        .current_dir(data)
}

/// Whether the server on `port` takes connections.
async fn is_ready(programs: &Path, port: u16) -> bool {
    let args = ["--host=127.0.0.1".to_owned(), format!("--port={port}"), "--quiet".to_owned()];
    Launch::new("pg_isready", programs.join("pg_isready")).args(args).finish().await.is_ok()
}
