use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::app::DeclaredHost;
use crate::app::samples::{declaration, provider_settings};
use crate::telemetry::metrics::Metrics;
use crate::tls::CaFile;
use crate::world::World;

fn builder() -> Builder {
    let metrics = Arc::new(Metrics::new("forepost", &[], &[]));
    Builder {
        world: World::system(),
        metrics,
        outpost_name: "forepost".to_owned(),
        any_host: false,
        named_only: Vec::new(),
    }
}

fn provider(name: &str, secret: &str) -> Declaration {
    let mut registration = provider_settings(&format!("https://{name}.example.com"));
    registration.client_secret = Some(secret.to_owned().into());
    from_test(Declared::Provider { name: name.to_owned(), registration: Box::new(registration) })
}

fn from_test(declared: Declared) -> Declaration {
    Declaration { origin: "test".into(), declared }
}

fn application(host: &str, provider: &str, group: &str) -> Declaration {
    let change = |app: &mut crate::app::DeclaredApplication| app.required_groups = vec![group.to_owned()];
    Declaration::application("test".into(), declaration(&format!("https://{host}"), None, provider, change))
}

/// Builds twice in a row, without conflicts.
fn one_after_the_other(before: &[Declaration], after: &[Declaration]) -> (Catalog, Catalog) {
    let builder = builder();
    let (first, conflicts) = builder.build(&Catalog::default(), before);
    assert!(conflicts.is_empty(), "{conflicts:?}");
    let (second, conflicts) = builder.build(&first, after);
    assert!(conflicts.is_empty(), "{conflicts:?}");
    assert_eq!((first.revision(), second.revision()), (1, 2));
    (first, second)
}

fn same_application(one: &Catalog, other: &Catalog, id: &str) -> bool {
    Arc::ptr_eq(one.application(id).unwrap(), other.application(id).unwrap())
}

fn same_provider(one: &Catalog, other: &Catalog, name: &str) -> bool {
    Arc::ptr_eq(one.provider(name).unwrap(), other.provider(name).unwrap())
}

#[test]
fn a_changed_application_is_a_new_one_and_nothing_else_is() {
    let with =
        |group| [provider("idp", "a"), application("one.test", "idp", group), application("two.test", "idp", "x")];
    let (before, after) = one_after_the_other(&with("staff"), &with("admins"));
    assert!(!same_application(&before, &after, "one-test") && same_application(&before, &after, "two-test"));
    assert!(same_provider(&before, &after, "idp"));
}

#[test]
fn a_changed_provider_brings_new_applications_with_it() {
    let with = |secret| {
        let providers = [provider("idp", secret), provider("other", "b")];
        let applications = [application("one.test", "idp", "x"), application("two.test", "other", "x")];
        [providers, applications].concat()
    };
    let (before, after) = one_after_the_other(&with("old"), &with("new"));
    assert!(!same_provider(&before, &after, "idp") && same_provider(&before, &after, "other"));
    assert!(!same_application(&before, &after, "one-test") && same_application(&before, &after, "two-test"));
    let app = after.application("one-test").unwrap();
    assert!(Arc::ptr_eq(&app.provider, after.provider("idp").unwrap()));
}

#[test]
fn a_snapshot_stays_as_it_is_when_another_catalogue_is_published() {
    let with = |group| [provider("idp", "a"), application("app.test", "idp", group)];
    let (before, after) = one_after_the_other(&with("staff"), &with("admins"));
    let group = |catalog: &Catalog| catalog.application("app-test").unwrap().shared.declared.required_groups[0].clone();
    let current = CurrentCatalog::new(before);
    let snapshot = current.load();
    let replaced = current.publish(Arc::new(after));
    assert!(Arc::ptr_eq(&replaced, &snapshot));
    assert_eq!((group(&snapshot), group(&current.load())), ("staff".to_owned(), "admins".to_owned()));
}

#[test]
fn what_is_declared_no_more_is_gone() {
    let both = [provider("idp", "a"), application("one.test", "idp", "x"), application("two.test", "idp", "x")];
    let (_, after) = one_after_the_other(&both, &both[..2]);
    assert!(after.application("two-test").is_none() && after.applications().len() == 1);
    assert!(after.find(&Host::parse("two.test").unwrap()).is_none());
}

/// Conflicts of `declared` after `before`, and the groups that each application requires then.
#[track_caller]
fn conflicts(before: &[Declaration], declared: &[Declaration], expected: &[&str], groups: &[(&str, &str)]) {
    let builder = builder();
    let (first, _) = builder.build(&Catalog::default(), before);
    let (catalog, conflicts) = builder.build(&first, declared);
    assert_eq!(conflicts.iter().map(|conflict| conflict.problem.to_string()).collect::<Vec<_>>(), expected);
    let group = |app: &Arc<Application>| (app.id.to_string(), app.shared.declared.required_groups[0].clone());
    let found: BTreeMap<_, _> = catalog.applications().iter().map(group).collect();
    let expected = groups.iter().map(|(id, group)| ((*id).to_owned(), (*group).to_owned()));
    assert_eq!(found, expected.collect());
}

#[test]
fn what_cannot_be_used_stays_as_it_was() {
    let idp = || provider("idp", "a");
    let app = |group| application("app.test", "idp", group);
    let broken = || application("app.test", "gone", "new");
    let unknown = "application app-test: there is no identity provider gone";
    conflicts(&[], &[idp(), broken()], &[unknown], &[]);
    conflicts(&[idp(), app("old")], &[idp(), broken()], &[unknown], &[("app-test", "old")]);
    // Its provider was replaced: with the old one, no user could sign in.
    conflicts(&[idp(), app("old")], &[provider("idp", "b"), broken()], &[unknown], &[]);
    let twice = "application app-test: slug app-test is that of application app-test too, from test";
    conflicts(&[], &[idp(), app("one"), app("two")], &[twice], &[("app-test", "one")]);
    let repeated = "identity_provider.idp is declared twice";
    conflicts(&[], &[idp(), provider("idp", "b"), app("one")], &[repeated], &[("app-test", "one")]);
    // Another application has its host now.
    let change = |app: &mut crate::app::DeclaredApplication| {
        app.slug = "other".to_owned();
        app.required_groups = vec!["x".to_owned()];
    };
    let other = Declaration::application("test".into(), declaration("https://app.test", None, "idp", change));
    let taken = "application app-test: external_host app.test is that of application other too, from test";
    conflicts(&[idp(), app("old")], &[idp(), other, app("old")], &[taken], &[("other", "x")]);
}

/// An application with a cookie domain, and with hosts that each require a group.
fn domain(group: &str, hosts: &[(&str, &str)]) -> Declaration {
    let hosts = hosts.iter().map(|(host, group)| {
        Arc::new(DeclaredHost {
            host: Host::parse(host).unwrap().into_owned(),
            name: (*host).to_owned(),
            slug: host.replace('.', "-"),
            public_paths: Vec::new(),
            rules: Vec::new(),
            required_groups: vec![(*group).to_owned()],
            jwt: None,
            further_headers: Vec::new(),
        })
    });
    let change = |app: &mut crate::app::DeclaredApplication| {
        app.required_groups = vec![group.to_owned()];
        app.hosts = hosts.collect();
    };
    Declaration::application("test".into(), declaration("https://auth.example.com", Some("example.com"), "idp", change))
}

/// A host that another source declares for an application.
fn further_host(application: &str, host: &str, slug: &str) -> Declaration {
    let host = DeclaredHost {
        host: Host::parse(host).unwrap().into_owned(),
        name: host.to_owned(),
        slug: slug.to_owned(),
        public_paths: Vec::new(),
        rules: Vec::new(),
        required_groups: Vec::new(),
        jwt: None,
        further_headers: Vec::new(),
    };
    let declared = Declared::Host { application: application.to_owned(), host: Arc::new(host) };
    Declaration { origin: "docker container x".into(), declared }
}

#[test]
fn hosts_are_added_to_the_application_of_another_source() {
    let declared = [
        provider("idp", "a"),
        domain("family", &[("wiki.example.com", "x")]),
        further_host("auth-example-com", "tv.example.com", "tv"),
        // What applications have comes first, wherever it stands; a host that is refused takes nothing with it.
        further_host("auth-example-com", "wiki.example.com", "other"),
        further_host("auth-example-com", "music.example.com", "wiki-example-com"),
        further_host("auth-example-com", "single.example.com", "single"),
        further_host("auth-example-com", "tv.example.com", "tv2"),
        further_host("auth-example-com", "tv.elsewhere.test", "tv3"),
        further_host("gone", "a.example.com", "a"),
        further_host("single-example-com", "b.single.example.com", "b"),
        application("single.example.com", "idp", "x"),
    ];
    let builder = builder();
    let (first, conflicts) = builder.build(&Catalog::default(), &declared);
    let conflicts: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
    let taken = |slug: &str, key: &str, value: &str, other: &str, origin: &str| {
        format!(
            "application {slug}: {key} {value} is that of application {other} too, from {origin} (from docker container x)"
        )
    };
    let no_domain = |host: &str, application: &str| {
        let problem =
            format!("host {host}: there is no application {application} with a cookie domain that the host is under");
        format!("{problem} (from docker container x)")
    };
    assert_eq!(
        conflicts,
        [
            taken("other", "host", "wiki.example.com", "wiki-example-com", "test"),
            taken("wiki-example-com", "slug", "wiki-example-com", "wiki-example-com", "test"),
            taken("single", "host", "single.example.com", "single-example-com", "test"),
            taken("tv2", "host", "tv.example.com", "tv", "docker container x"),
            no_domain("tv.elsewhere.test", "auth-example-com"),
            no_domain("a.example.com", "gone"),
            no_domain("b.single.example.com", "single-example-com"),
        ]
    );
    let ids: Vec<_> = first.applications().iter().map(|app| app.id.to_string()).collect();
    assert_eq!(ids, ["auth-example-com", "wiki-example-com", "tv", "single-example-com"]);
    let origin = |id: &str| first.origin(&first.application(id).unwrap().id).map(ToString::to_string);
    assert_eq!(
        [origin("tv"), origin("wiki-example-com")],
        [Some("docker container x".to_owned()), Some("test".to_owned())]
    );
    // One more host changes none of the others.
    let more = [&declared[..], &[further_host("auth-example-com", "new.example.com", "new")]].concat();
    let (second, _) = builder.build(&first, &more);
    assert!(second.application("new").is_some());
    for id in ["auth-example-com", "wiki-example-com", "tv", "single-example-com"] {
        assert!(same_application(&first, &second, id), "{id}");
    }
}

#[test]
fn of_a_domain_only_the_host_that_changed_is_new() {
    let with = |hosts: &[(&str, &str)]| [provider("idp", "a"), domain("x", hosts)];
    let first = [("a.example.com", "x"), ("b.example.com", "x"), ("c.example.com", "x")];
    let second = [("d.example.com", "x"), ("b.example.com", "y"), ("a.example.com", "x")];
    let (before, after) = one_after_the_other(&with(&first), &with(&second));
    let ids = |catalog: &Catalog| catalog.applications().iter().map(|app| app.id.to_string()).collect::<Vec<_>>();
    assert_eq!(ids(&before), ["auth-example-com", "a-example-com", "b-example-com", "c-example-com"]);
    assert_eq!(ids(&after), ["auth-example-com", "d-example-com", "b-example-com", "a-example-com"]);
    for (id, same) in [("auth-example-com", true), ("a-example-com", true), ("b-example-com", false)] {
        assert_eq!(same_application(&before, &after, id), same, "{id}");
    }
    for (host, id) in [("d.example.com", "d-example-com"), ("c.example.com", "auth-example-com")] {
        assert_eq!(*after.find(&Host::parse(host).unwrap()).unwrap().id, *id, "{host}");
    }
    let other = [provider("idp", "a"), domain("y", &first)];
    let (before, after) = one_after_the_other(&with(&first), &other);
    assert!(ids(&before).iter().all(|id| !same_application(&before, &after, id)), "the rules of all changed");
}

#[test]
fn a_host_whose_name_is_taken_leaves_its_domain_as_it_was() {
    let with = |hosts: &[(&str, &str)]| [provider("idp", "a"), domain("x", hosts)];
    let single = || application("b.example.com", "idp", "single");
    let taken = "application b-example-com: slug b-example-com is that of application b-example-com too, from test";
    let both = [("auth-example-com", "x"), ("b-example-com", "single")];
    // Earlier declarations count first.
    let [idp, one, other] = [provider("idp", "a"), single(), domain("x", &[("b.example.com", "y")])];
    conflicts(&with(&[]), &[idp, one, other], &[taken], &both);
    let [idp, other] = with(&[("b.example.com", "y")]);
    conflicts(&with(&[]), &[idp, other, single()], &[taken], &[("auth-example-com", "x"), ("b-example-com", "x")]);
    let twice = with(&[("b.example.com", "y"), ("b.example.com", "z")]);
    let taken = taken.replace("from test", "from the same declaration");
    conflicts(&with(&[]), &twice, &[&taken], &[("auth-example-com", "x")]);
    conflicts(&[], &twice, &[&taken], &[]);
    let own = with(&[("auth.example.com", "y")]);
    let taken = "application auth-example-com: slug auth-example-com is that of application auth-example-com too, from the same declaration";
    conflicts(&[], &own, &[taken], &[]);
}

#[test]
fn a_ca_file_that_is_not_there_is_told_of_its_provider() {
    let mut registration = provider_settings("https://idp.example.com");
    registration.ca_file = Some(CaFile::read("/nowhere/ca.pem".into()));
    let declared = [from_test(Declared::Provider { name: "idp".to_owned(), registration: Box::new(registration) })];
    let (catalog, conflicts) = builder().build(&Catalog::default(), &declared);
    assert!(catalog.providers().is_empty());
    let [Conflict { problem: Problem::Provider { name, source }, .. }] = conflicts.as_slice() else {
        panic!("{conflicts:?}")
    };
    assert_eq!((name.as_str(), source.to_string().contains("/nowhere/ca.pem")), ("idp", true));
}

prop_compose! {
    /// Up to four providers with one of two secrets, and up to four applications at any of them with one of two groups.
    fn declarations()(
        secrets in proptest::collection::btree_map(0..4_u8, 0..2_u8, 1..4),
        apps in proptest::collection::btree_map(0..4_u8, (any::<proptest::sample::Index>(), 0..2_u8), 0..4),
    ) -> Vec<Declaration> {
        let names: Vec<String> = secrets.keys().map(|number| format!("idp{number}")).collect();
        let providers = secrets.iter().map(|(number, secret)| provider(&format!("idp{number}"), &secret.to_string()));
        let applications = apps.iter().map(|(number, (at, group))| {
            application(&format!("app{number}.test"), &names[at.index(names.len())], &group.to_string())
        });
        providers.chain(applications).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the catalogues before were, the last one is what was declared last, and only what changed is new in it.
    #[test]
    fn the_last_declarations_count(history in proptest::collection::vec(declarations(), 1..4)) {
        let builder = builder();
        let mut catalog = Catalog::default();
        for declared in &history {
            let (next, conflicts) = builder.build(&catalog, declared);
            prop_assert!(conflicts.is_empty());
            for declaration in declared {
                match &declaration.declared {
                    Declared::Provider { name, registration } => {
                        let provider = next.provider(name).unwrap();
                        prop_assert!(*provider.settings() == **registration);
                        if let Some(before) = catalog.provider(name) {
                            prop_assert_eq!(Arc::ptr_eq(before, provider), *before.settings() == **registration);
                        }
                    }
                    Declared::Host { .. } => unreachable!("none is made above"),
                    Declared::Application(declared) => {
                        let app = next.find(&declared.external_host.host).unwrap();
                        prop_assert!(app.shared.declared == **declared);
                        prop_assert!(Arc::ptr_eq(&app.provider, next.provider(&declared.identity_provider).unwrap()));
                        if let Some(before) = catalog.application(&declared.slug) {
                            let unchanged =
                                before.shared.declared == **declared && Arc::ptr_eq(&before.provider, &app.provider);
                            prop_assert_eq!(Arc::ptr_eq(before, app), unchanged);
                        }
                    }
                }
            }
            prop_assert_eq!(next.providers().len() + next.applications().len(), declared.len());
            catalog = next;
        }
    }
}

#[test]
fn no_other_application_answers_for_one_that_cannot_be_used() {
    let domain = |change: fn(&mut crate::app::DeclaredApplication)| {
        Declaration::application(
            "test".into(),
            declaration("https://home.example.com", Some("example.com"), "idp", change),
        )
    };
    let strict = |provider: &str| application("admin.example.com", provider, "admins");
    let admin = Host::parse("admin.example.com").unwrap();
    let found = |catalog: &Catalog| catalog.find(&admin).map(|app| app.id.to_string());
    let builder = builder();
    // The rule for the host has just left the application of the domain; the new application cannot be used.
    let (before, _) = builder.build(&Catalog::default(), &[provider("idp", "a"), domain(|_| ())]);
    assert_eq!(found(&before).as_deref(), Some("home-example-com"));
    let (after, conflicts) = builder.build(&before, &[provider("idp", "a"), domain(|_| ()), strict("gone")]);
    assert_eq!((conflicts.len(), found(&after)), (1, None));
    assert!(after.find(&Host::parse("other.example.com").unwrap()).is_some());
    let (mended, conflicts) = builder.build(&after, &[provider("idp", "a"), domain(|_| ()), strict("idp")]);
    assert_eq!((conflicts.len(), found(&mended).as_deref()), (0, Some("admin-example-com")));
}
