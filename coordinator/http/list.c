/* A queue of exchanges; an exchange is in one list at most. */
#include "coordinator/http/server.h"

void http_list_append(struct http_list *list, struct http_exchange *exchange)
{
    exchange->next = NULL;
    exchange->previous = list->tail;
    if (list->tail)
        list->tail->next = exchange;
    else
        list->head = exchange;
    list->tail = exchange;
    list->length++;
}

void http_list_remove(struct http_list *list, struct http_exchange *exchange)
{
    if (exchange->previous)
        exchange->previous->next = exchange->next;
    else
        list->head = exchange->next;
    if (exchange->next)
        exchange->next->previous = exchange->previous;
    else
        list->tail = exchange->previous;
    exchange->next = exchange->previous = NULL;
    list->length--;
}
