//! Operations on many records, with one round trip to each server.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Value};

use super::cluster::slot;
use super::commands::{command, millis};
use super::error::RedisError;
use super::link::Link;
use super::script::UPDATE;
use super::value::{done, only, optional_bytes};
use super::{Redis, Topology};

/// A record that replaces `old`, where that is still there, and lives for `ttl`.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) key: [u8; 32],
    pub(crate) old: Vec<u8>,
    pub(crate) new: Vec<u8>,
    pub(crate) ttl: Duration,
}

impl Redis {
    /// The records, in order; one server's errors leave the others' records.
    pub(crate) async fn get_many(&self, keys: &[[u8; 32]]) -> Vec<Result<Option<Vec<u8>>, RedisError>> {
        let names = keys.iter().map(|key| self.record(key));
        let questions = names.map(|name| (command("GET", &[name.as_bytes()]), name)).collect();
        self.send_each(questions).await.into_iter().map(|answer| optional_bytes(answer?)).collect()
    }

    /// The keys that have a record.
    pub(crate) async fn which_exist(&self, keys: &[[u8; 32]]) -> Result<Vec<[u8; 32]>, RedisError> {
        let names = keys.iter().map(|key| self.record(key));
        let questions = names.map(|name| (command("EXISTS", &[name.as_bytes()]), name)).collect();
        let mut found = Vec::new();
        for (key, answer) in keys.iter().zip(self.send_each(questions).await) {
            if done(&answer?)? {
                found.push(*key);
            }
        }
        Ok(found)
    }

    /// Replaces records; `false` for each that is not the old one any more.
    pub(crate) async fn update_uses(&self, updates: &[Update]) -> Vec<Result<bool, RedisError>> {
        let update = |update: &Update| {
            let (record, lease) = (self.record(&update.key), self.lease(&update.key));
            let arguments = [&*update.old, &update.new, &millis(update.ttl)];
            (UPDATE.by_digest(&[&record, &lease], &arguments), record)
        };
        let answers = self.send_each(updates.iter().map(update).collect()).await;
        let mut updated = Vec::with_capacity(updates.len());
        for (update, answer) in updates.iter().zip(answers) {
            updated.push(match answer {
                // The server does not know the script, and did nothing.
                Ok(Value::ServerError(error)) if error.code() == "NOSCRIPT" => self.update_use(update).await,
                answer => answer.and_then(|answer| done(&answer)),
            });
        }
        updated
    }

    async fn update_use(&self, update: &Update) -> Result<bool, RedisError> {
        let arguments = [&*update.old, &update.new, &millis(update.ttl)];
        done(&self.on_lease(&UPDATE, &update.key, &arguments).await?)
    }

    /// Sends commands, each to the server of its key; the answers, in order, may be errors of the server.
    async fn send_each(&self, mut commands: Vec<(Cmd, String)>) -> Vec<Result<Value, RedisError>> {
        let mut answers = Vec::new();
        answers.resize_with(commands.len(), || Err(RedisError::Unexpected));
        for (link, places) in self.by_server(&commands, &mut answers).await {
            let together: Vec<Cmd> = places.iter().map(|place| std::mem::take(&mut commands[*place].0)).collect();
            match link.send(&together, self.deadline()).await {
                Ok(found) => {
                    for ((place, command), answer) in places.into_iter().zip(together).zip(found) {
                        answers[place] = match answer {
                            // The slot moves, and the server did nothing.
                            Value::ServerError(error) if matches!(error.code(), "MOVED" | "ASK" | "TRYAGAIN") => {
                                self.send(&commands[place].1, &[command]).await.and_then(only)
                            }
                            answer => Ok(answer),
                        };
                    }
                }
                Err(error) => {
                    if let Topology::Cluster(cluster) = &self.topology {
                        cluster.mark_outdated();
                    }
                    for place in places {
                        answers[place] = Err(error.clone());
                    }
                }
            }
        }
        answers
    }

    /// The commands by server; a command without a server gets an error as its answer.
    async fn by_server(
        &self,
        commands: &[(Cmd, String)],
        answers: &mut [Result<Value, RedisError>],
    ) -> Vec<(Arc<Link>, Vec<usize>)> {
        let cluster = match &self.topology {
            Topology::One(link) => return vec![(Arc::clone(link), (0..commands.len()).collect())],
            Topology::Cluster(cluster) => cluster,
        };
        let mut servers: Vec<(Arc<Link>, Vec<usize>)> = Vec::new();
        for (place, (_, key)) in commands.iter().enumerate() {
            match cluster.link(slot(key.as_bytes()), self.deadline()).await {
                Ok(link) => match servers.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &link)) {
                    Some((_, places)) => places.push(place),
                    None => servers.push((link, vec![place])),
                },
                Err(error) => {
                    cluster.mark_outdated();
                    answers[place] = Err(error);
                }
            }
        }
        servers
    }
}
