//! Every operation on real servers; `tests/run` installs them and says where they are.

mod costs;
mod failover;
mod following;
mod operations;
mod places;
pub(in crate::session) mod server;
mod slots;
pub(in crate::session) mod stage;

#[path = "../../../../../tests/suite/support/port.rs"]
mod port;
#[expect(dead_code, reason = "the suite uses the rest")]
#[path = "../../../../../tests/suite/support/tool.rs"]
mod tool;

/// Runs each of a file's tests on each program.
macro_rules! on_each_program {
    ($($name:ident),+ $(,)?) => {
        mod on_redis {
            $(#[tokio::test] async fn $name() { super::$name("redis-server").await; })+
        }
        mod on_valkey {
            $(#[tokio::test] async fn $name() { super::$name("valkey-server").await; })+
        }
    };
}
use on_each_program;
