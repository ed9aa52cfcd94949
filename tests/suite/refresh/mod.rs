//! Sessions that the provider is asked about: refreshed beside the requests, confirmed before them, ended.

mod away;
mod background;
mod claims;
mod endings;
mod id_token;
mod killed;
mod refusals;
mod replayed;
mod revoked;
mod scene;
mod silent;
mod store_away;
