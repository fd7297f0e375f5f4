-- Times are milliseconds since the epoch; ids are UUIDs (16 bytes).

create table message (
    id            blob    not null primary key,
    connection    text    not null,
    route         text    not null,
    key           text    not null,
    subject       text,
    lane          text    not null,
    state         text    not null,
    reason        text,
    detail        text,
    notes         text,
    wait_for      text,
    held_since    integer,
    due           integer not null,
    at_least      integer not null,
    attempts      integer not null,
    claim         blob,
    holder        blob,
    source        text    not null,
    correlation   text    not null,
    payload       text    not null,
    body          blob,
    created       integer not null,
    changed       integer not null
) strict;
create unique index message_key on message (connection, route, key);
create index message_due on message (lane, due) where state in ('ready', 'waiting');
create index message_subject on message (connection, subject, route) where state in ('ready', 'waiting', 'running');
create index message_wait on message (connection, wait_for) where state = 'waiting';
create index message_state on message (state, changed) where state in ('parked', 'running');

create table subject (
    connection    text    not null,
    name          text    not null,
    token         integer not null,
    holder        blob,
    blocked_by    blob,
    primary key (connection, name)
) strict, without rowid;
create index subject_holder on subject (holder) where holder is not null;

create table tally (
    shard         integer not null,
    connection    text    not null,
    lane          text    not null,
    state         text    not null,
    count         integer not null,
    primary key (shard, connection, lane, state)
) strict, without rowid;

create table attempt (
    message       blob    not null,
    number        integer not null,
    at            integer not null,
    outcome       text    not null,
    class         text,
    detail        text    not null,
    primary key (message, number, at)
) strict, without rowid;

create table mapping (
    id                    blob    not null primary key,
    connection            text    not null,
    kind                  text    not null,
    commercetools_id      text    not null,
    commercetools_key     text,
    commercetools_version integer not null,
    fluent_id             text,
    fluent_ref            text,
    content_hash          text,
    state                 text    not null,
    extra                 text    not null,
    remembered            text,
    first_seen            integer not null,
    written               integer not null,
    last_message          blob
) strict;
create unique index mapping_commercetools on mapping (connection, kind, commercetools_id);
create unique index mapping_fluent_ref on mapping (connection, kind, fluent_ref) where fluent_ref is not null;
create index mapping_fluent_id on mapping (connection, kind, fluent_id) where fluent_id is not null;
create index mapping_key on mapping (connection, kind, commercetools_key) where commercetools_key is not null;

create table cursor (
    connection    text    not null,
    stream        text    not null,
    position      text    not null,
    found         integer not null,
    changed       integer not null,
    primary key (connection, stream)
) strict, without rowid;

create table lease (
    instance      text    not null primary key,
    daemon        blob    not null,
    until         integer not null,
    started       integer not null
) strict;

create table token (
    id            text    not null primary key,
    name          text    not null,
    hash          blob    not null,
    scopes        text    not null,
    connections   text    not null,
    created       integer not null,
    created_by    text    not null,
    expires       integer,
    last_used     integer,
    revoked       integer
) strict;

create table setting (
    connection    text    not null,
    name          text    not null,
    value         text    not null,
    changed       integer not null,
    primary key (connection, name)
) strict, without rowid;
