# docker build --tag forepost .
#
# Needs BuildKit (the default builder), the two base images and crates.io. No cmake, no OpenSSL.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /source
COPY . .
# The caches keep compiled dependencies over changes of our own code; they never get into an image.
# Cargo goes by time stamps, and a source archive may be older than a cached build of something else: hence touch.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/source/target,sharing=locked \
    touch src/lib.rs src/main.rs \
    && CARGO_PROFILE_RELEASE_STRIP=symbols cargo build --release --locked --bin forepost \
    && install -D target/release/forepost /image/usr/local/bin/forepost \
    && mkdir --parents --mode=0700 /state

# glibc, libgcc, certificate authorities and nothing else; the same Debian as above, for its glibc.
FROM gcr.io/distroless/cc-debian12:nonroot

ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="forepost" \
      org.opencontainers.image.description="A forward-auth outpost: lets a reverse proxy ask any OpenID Connect provider who is there" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

COPY --from=build /image /
# Sessions survive a new container where a volume is mounted here. "docker exec … forepost sessions list" finds
# the socket of the daemon here too.
COPY --from=build --chown=65532:65532 --chmod=0700 /state /var/lib/forepost
ENV STATE_DIRECTORY=/var/lib/forepost
VOLUME /var/lib/forepost

# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
# Cleartext, TLS, metrics.
EXPOSE 9000 9443 9300
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/forepost", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/forepost"]
