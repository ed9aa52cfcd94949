//! Hosts that one source declares for an application of another.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::Names;
use super::{Conflict, Declaration, Declared, Problem};

/// Declarations in which applications have all of their hosts.
pub(super) struct Joined<'d> {
    pub(super) declared: Cow<'d, [Declaration]>,
    /// Where the hosts were declared that were added, by their slugs.
    pub(super) origins: BTreeMap<String, Arc<str>>,
    /// The hosts that were not added.
    pub(super) conflicts: Vec<Conflict>,
}

impl<'d> Joined<'d> {
    /// Gives each application the hosts that are declared for it, as far as no application has their names, wherever it stands.
    pub(super) fn new(declared: &'d [Declaration]) -> Self {
        let is_host = |it: &Declaration| matches!(it.declared, Declared::Host { .. });
        if !declared.iter().any(is_host) {
            return Self { declared: declared.into(), origins: BTreeMap::new(), conflicts: Vec::new() };
        }
        let mut names = Names::default();
        let mut joined: Vec<Declaration> = declared.iter().filter(|it| !is_host(it)).cloned().collect();
        for Declaration { origin, declared } in &joined {
            if let Declared::Application(application) = declared
                && names.check(application).is_ok()
            {
                names.add(application, origin);
            }
        }
        let (mut origins, mut conflicts) = (BTreeMap::new(), Vec::new());
        for Declaration { origin, declared } in declared {
            let Declared::Host { application, host } = declared else { continue };
            let of_domain = joined.iter_mut().find_map(|it| match &mut it.declared {
                Declared::Application(it) if it.slug == *application => {
                    let is_under = it.cookie_domain.as_ref().is_some_and(|domain| domain.contains(&host.host));
                    is_under.then_some(it)
                }
                _ => None,
            });
            let added = match of_domain {
                Some(application) => names.check_host(host).map(|()| application.hosts.push(Arc::clone(host))),
                None => Err(Problem::NoDomain { host: host.host.to_string(), application: application.clone() }),
            };
            match added {
                Ok(()) => {
                    names.add_host(host, origin);
                    origins.insert(host.slug.clone(), Arc::clone(origin));
                }
                Err(problem) => conflicts.push(Conflict { origin: Arc::clone(origin), problem }),
            }
        }
        Self { declared: joined.into(), origins, conflicts }
    }
}
