//! The demo, as a newcomer uses it.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::json;

use super::run;
use crate::running::Running;
use crate::web;

/// Runs a script against the whole demo; it is told what the demo prints.
async fn against_the_demo(script: &str) {
    let (listener, address) = web::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let running = Running::start(listener, address).await.unwrap();
    run(script, json!({"port": address.port(), "introduction": running.demo.introduction()})).await;
    running.stop().await;
}

#[tokio::test]
async fn the_printed_list_works_in_its_order() {
    against_the_demo("introduction").await;
}

#[tokio::test]
async fn a_newcomer_walks_through_the_demo() {
    against_the_demo("newcomer").await;
}

#[tokio::test]
async fn every_tab_ends_where_it_began() {
    against_the_demo("tabs").await;
}

#[tokio::test]
async fn scripts_of_a_page_are_told_and_not_sent_away() {
    against_the_demo("scripts").await;
}
