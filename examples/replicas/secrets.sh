#!/bin/sh
# Makes the secrets of compose.yaml in the folder secrets/, where there are none yet.
set -eu
cd -- "$(dirname -- "$0")"

random() { head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# No other user of this machine gets into the folder, and what lies in it is readable for the users of the containers.
mkdir -m 700 secrets
cd secrets
umask 077
password=$(random)

random >session_secret
echo "redis://forepost:$password@valkey:6379/0" >redis_url
# Who has no password may only ask whether the server is there.
cat >valkey_users <<END
user default reset on nopass +ping
user forepost on >$password resetkeys ~forepost:* -@all +get +set +del +exists +scan +dbsize +hget +hset +hmget +pttl +pexpire +time +evalsha +eval +xadd +xtrim +xread +xinfo|stream +info +select
END
chmod 444 session_secret redis_url valkey_users
