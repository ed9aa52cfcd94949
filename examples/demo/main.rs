//! Forepost between an OpenID provider and two applications, all in one process on loopback.
//!
//! `cargo run --example demo` prints what to open and what to try.

mod configuration;
#[expect(dead_code, reason = "the switches of the faulty provider are for tests")]
mod provider;
mod proxy;
mod running;
#[cfg(test)]
mod tests;
mod web;

use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use clap::Parser;
use forepost::telemetry::log;

use self::running::Running;

/// Forepost between an OpenID provider and two applications, all in one process on loopback.
#[derive(Debug, Parser)]
#[command(name = "demo")]
struct Options {
    /// The port to open in the browser.
    #[arg(long, default_value_t = 8080)]
    port: u16,

    /// Print forepost's configuration, too.
    #[arg(long)]
    print_config: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(&Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let (listener, address) = web::bind(listen).await.map_err(|error| cannot_listen(listen, &error))?;
    let running = Running::start(listener, address).await?;
    log::init(&running.log)?;
    if options.print_config {
        println!("{}", running.demo.forepost_toml());
    }
    println!("{}", running.demo.introduction());
    tokio::signal::ctrl_c().await?;
    println!("\nStopping.");
    running.stop().await;
    Ok(())
}

fn cannot_listen(address: SocketAddr, error: &io::Error) -> String {
    let port = address.port();
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let other = if port == 8090 { 8091 } else { 8090 };
            format!("port {port} is taken; choose another one: cargo run --example demo -- --port {other}")
        }
        io::ErrorKind::PermissionDenied => {
            format!(
                "port {port} is not allowed for you; choose one above 1023: cargo run --example demo -- --port 8080"
            )
        }
        _ => format!("cannot listen on {address}: {error}"),
    }
}
