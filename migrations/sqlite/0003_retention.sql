-- Times are milliseconds since the epoch; ids are UUIDs (16 bytes).

-- Keys of messages that were pruned: a copy that comes later is still a duplicate.
create table idempotency (
    connection    text    not null,
    route         text    not null,
    key           text    not null,
    message       blob    not null,
    pruned        integer not null,
    primary key (connection, route, key)
) strict, without rowid;
create index idempotency_pruned on idempotency (pruned);

-- What retention looks for; a message enters these when it ends, not when it is taken in.
create index message_ended on message (changed) where state in ('done', 'skipped');
create index message_body on message (changed) where body is not null and state in ('done', 'skipped');
create index attempt_at on attempt (at, message, number);

-- How many daemons died in a row while they ran it.
alter table message add column deaths integer not null default 0;
