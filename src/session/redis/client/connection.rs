//! One connection to one server: TCP, TLS, user and database.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, Value};
use rustls::pki_types::ServerName;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::bounded::Bounded;
use super::error::{RedisError, clean};
use super::settings::{RedisAddress, RedisSettings};
use crate::telemetry::WithCauses;
use crate::tls::{self, CaFile};

/// Opens connections with the same settings.
pub(super) struct Connector {
    tls: Option<TlsConnector>,
    user: RedisConnectionInfo,
    /// For an operation, with all that it needs.
    pub(super) timeout: Duration,
}

/// A connection that many operations share; it closes with its last clone.
#[derive(Clone)]
pub(super) struct Connection {
    shared: MultiplexedConnection,
    timeout: Duration,
    _driver: Arc<AbortOnDropHandle<()>>,
}

impl Connector {
    /// For the servers that hold the data.
    pub(super) fn new(settings: &RedisSettings) -> Result<Self, RedisError> {
        let tls = settings.tls.then(|| tls_connector(settings.ca_file.as_ref())).transpose()?;
        let user = user(settings.username.as_deref(), settings.password.as_ref());
        Ok(Self { tls, user: user.set_db(settings.database.into()), timeout: settings.timeout })
    }

    /// The same with another user and without a database, for Sentinels.
    pub(super) fn with_user(&self, username: Option<&str>, password: Option<&SecretString>) -> Self {
        Self { tls: self.tls.clone(), user: user(username, password), timeout: self.timeout }
    }

    /// Connects before `deadline`.
    pub(super) async fn connect(&self, address: &RedisAddress, deadline: Instant) -> Result<Connection, RedisError> {
        timeout_at(deadline, self.open(address)).await.map_err(|_| self.timed_out())?
    }

    /// The error of an operation that was not over before its deadline.
    pub(super) fn timed_out(&self) -> RedisError {
        RedisError::TimedOut(self.timeout)
    }

    async fn open(&self, address: &RedisAddress) -> Result<Connection, RedisError> {
        let away = |error: std::io::Error| RedisError::Away(clean(&format!("{address}: {error}")));
        let tcp = TcpStream::connect((address.host.as_str(), address.port)).await.map_err(away)?;
        tcp.set_nodelay(true).map_err(away)?;
        let Some(tls) = &self.tls else { return self.greet(tcp).await };
        let name = ServerName::try_from(address.host.clone());
        let name =
            name.map_err(|_| RedisError::Away(format!("{address} is not a name that a certificate can have")))?;
        let refused = |error: std::io::Error| RedisError::Away(format!("{address}: {}", tls::cause(&error)));
        self.greet(tls.connect(name, tcp).await.map_err(refused)?).await
    }

    async fn greet<S>(&self, stream: S) -> Result<Connection, RedisError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // The callers bound the time, because they know what an operation may take.
        let config = AsyncConnectionConfig::new().set_response_timeout(None);
        let connected = MultiplexedConnection::new_with_config(&self.user, Bounded::new(stream), config).await;
        let (connection, driver) = connected.map_err(|error| RedisError::connection(&error))?;
        let driver = Arc::new(AbortOnDropHandle::new(tokio::spawn(driver)));
        Ok(Connection { shared: connection, timeout: self.timeout, _driver: driver })
    }
}

impl Connection {
    /// Sends all commands at once and waits for all answers, which may be errors of the server.
    pub(super) async fn send(&self, commands: &[Cmd], deadline: Instant) -> Result<Vec<Value>, RedisError> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for command in commands {
            pipeline.add_command(command.clone());
        }
        let mut connection = self.shared.clone();
        let answers = timeout_at(deadline, connection.send_packed_commands(&pipeline, 0, commands.len())).await;
        let answers = answers.map_err(|_| RedisError::TimedOut(self.timeout))?;
        let answers = answers.map_err(|error| RedisError::connection(&error))?;
        if answers.len() == commands.len() { Ok(answers) } else { Err(RedisError::Unexpected) }
    }
}

fn user(username: Option<&str>, password: Option<&SecretString>) -> RedisConnectionInfo {
    let mut user = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(username) = username {
        user = user.set_username(username);
    }
    if let Some(password) = password {
        user = user.set_password(password.expose_secret());
    }
    user
}

fn tls_connector(ca_file: Option<&CaFile>) -> Result<TlsConnector, RedisError> {
    let config =
        tls::client_config(ca_file).map_err(|error| RedisError::Tls(clean(&WithCauses(&error).to_string())))?;
    Ok(TlsConnector::from(Arc::new(config)))
}
