/* What is kept, for how long, and what goes first. */
#include "coordinator/http/answer_cache.h"
#include "coordinator/http/token_cache.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES = 8192, NOW = 1000 };

static struct freshness *freshness;
static struct answer_cache *cache;

static void set_up(void)
{
    freshness = freshness_new();
    cache = answer_cache_new(freshness, BYTES);
    freshness_heard(freshness, NOW);
}

static void tear_down(void)
{
    answer_cache_free(cache);
    freshness_free(freshness);
}

TestSuite(answer_cache, .init = set_up, .fini = tear_down);

static void keep(const char *key, const char *body, uint64_t generation, const char *topic,
                 int64_t until_ms)
{
    struct freshness_mark mark;
    freshness_mark(&mark, generation);
    freshness_mark_topic(&mark, topic);
    struct kept_answer *answer = kept_answer_new(strdup(body), "\"tag\"", &mark, until_ms);
    answer_cache_keep(cache, key, answer);
    kept_answer_free(answer);
}

static bool is_kept(const char *key, int64_t now_ms)
{
    struct kept_answer *found = answer_cache_find(cache, key, now_ms);
    kept_answer_free(found);
    return found != NULL;
}

Test(answer_cache, gives_what_was_kept)
{
    keep("a", "body", freshness_generation(freshness), "x", 0);
    struct kept_answer *found = answer_cache_find(cache, "a", NOW);
    cr_assert_not_null(found);
    cr_assert_str_eq(found->body, "body");
    cr_assert_eq(found->size, 4);
    cr_assert_str_eq(found->etag, "\"tag\"");
    kept_answer_free(found);
    cr_assert(!is_kept("b", NOW));
}

Test(answer_cache, a_later_answer_replaces_an_earlier_one)
{
    keep("a", "one", freshness_generation(freshness), "x", 0);
    size_t bytes = answer_cache_bytes(cache);
    struct kept_answer *old = answer_cache_find(cache, "a", NOW);
    keep("a", "two", freshness_generation(freshness), "x", 0);
    struct kept_answer *found = answer_cache_find(cache, "a", NOW);
    cr_assert_str_eq(old->body, "one", "its user still has it");
    cr_assert_str_eq(found->body, "two");
    cr_assert_eq(answer_cache_bytes(cache), bytes);
    kept_answer_free(old);
    kept_answer_free(found);
}

Test(answer_cache, a_change_ends_what_has_its_topic)
{
    uint64_t generation = freshness_generation(freshness);
    keep("a", "a", generation, "migration 1", 0);
    keep("b", "b", generation, "migration 2", 0);
    keep("list", "c", generation, "migration", 0);
    freshness_changed(freshness, "host");
    cr_assert(is_kept("a", NOW) && is_kept("b", NOW) && is_kept("list", NOW));
    freshness_changed(freshness, "migration 1");
    cr_assert(!is_kept("a", NOW));
    cr_assert(is_kept("b", NOW));
    cr_assert(!is_kept("list", NOW), "the first word is a topic too");
    freshness_changed(freshness, "");
    cr_assert(!is_kept("b", NOW));
}

Test(answer_cache, an_answer_older_than_a_change_is_not_taken_for_a_new_one)
{
    uint64_t before = freshness_generation(freshness);
    freshness_changed(freshness, "x"); /* while the answer is made */
    keep("a", "a", before, "x", 0);
    cr_assert(!is_kept("a", NOW));
    keep("a", "a", freshness_generation(freshness), "x", 0);
    cr_assert(is_kept("a", NOW));
}

Test(answer_cache, nothing_holds_when_the_listener_is_not_heard_of)
{
    uint64_t generation = freshness_generation(freshness);
    keep("a", "a", generation, "x", 0);
    keep("b", "b", generation, "x", 0);
    cr_assert(is_kept("a", NOW + FRESHNESS_MS));
    cr_assert(!is_kept("a", NOW + FRESHNESS_MS + 1));
    freshness_heard(freshness, 0);
    cr_assert_eq(freshness_generation(freshness), 0);
    keep("c", "c", freshness_generation(freshness), "x", 0);
    freshness_heard(freshness, NOW + 5000);
    cr_assert(!is_kept("b", NOW + 5000), "something may have been missed");
    cr_assert(!is_kept("c", NOW + 5000), "it was read while nobody listened");
    keep("d", "d", freshness_generation(freshness), "x", 0);
    cr_assert(is_kept("d", NOW + 5000));
}

Test(answer_cache, before_the_first_beat_nothing_is_kept)
{
    struct freshness *fresh = freshness_new();
    cr_assert_eq(freshness_generation(fresh), 0);
    freshness_heard(fresh, NOW);
    cr_assert_gt(freshness_generation(fresh), 0);
    freshness_free(fresh);
}

Test(answer_cache, an_answer_has_its_own_end)
{
    keep("a", "a", freshness_generation(freshness), "x", NOW + 100);
    cr_assert(is_kept("a", NOW + 99));
    cr_assert(!is_kept("a", NOW + 100));
    cr_assert_eq(answer_cache_bytes(cache), 0, "it is gone");
}

Test(answer_cache, the_least_recently_used_go_first)
{
    char body[1024], key[16];
    memset(body, 'x', sizeof body - 1);
    body[sizeof body - 1] = '\0';
    for (int i = 0; i < 6; i++) {
        snprintf(key, sizeof key, "key %d", i);
        keep(key, body, freshness_generation(freshness), "x", 0);
    }
    cr_assert(is_kept("key 0", NOW));
    keep("one more", body, freshness_generation(freshness), "x", 0);
    cr_assert(is_kept("key 0", NOW));
    cr_assert(!is_kept("key 1", NOW));
    cr_assert(is_kept("one more", NOW));
    cr_assert_leq(answer_cache_bytes(cache), BYTES);
}

Test(answer_cache, what_is_larger_than_all_is_not_kept)
{
    char *body = malloc(BYTES + 1);
    memset(body, 'x', BYTES);
    body[BYTES] = '\0';
    keep("a", body, freshness_generation(freshness), "x", 0);
    free(body);
    cr_assert(!is_kept("a", NOW));
    cr_assert_eq(answer_cache_bytes(cache), 0);
}

Test(answer_cache, a_token_is_known_until_any_changes)
{
    struct token_cache *tokens = token_cache_new(freshness);
    char hash[65], other[65];
    memset(hash, 'a', 64);
    memset(other, 'a', 64);
    hash[64] = other[64] = '\0';
    other[63] = 'b'; /* the same slot */
    struct token token = {.name = "t", .role = TOKEN_OPERATOR}, found = {0};
    token_cache_keep(tokens, hash, &token, NOW, freshness_generation(freshness));
    cr_assert(token_cache_find(tokens, hash, NOW, &found));
    cr_assert_str_eq(found.name, "t");
    cr_assert_eq(found.role, TOKEN_OPERATOR);
    cr_assert(!token_cache_find(tokens, other, NOW, &found));
    token_cache_keep(tokens, other, &token, NOW, freshness_generation(freshness));
    cr_assert(!token_cache_find(tokens, hash, NOW, &found), "the later has the slot");
    freshness_changed(freshness, "token");
    cr_assert(!token_cache_find(tokens, other, NOW, &found));
    token_cache_keep(tokens, other, &token, NOW, 0);
    cr_assert(!token_cache_find(tokens, other, NOW, &found), "nobody listened");
    token_cache_free(tokens);
}
