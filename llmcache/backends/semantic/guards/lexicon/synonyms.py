"""English words that ask the same."""

from __future__ import annotations

from typing import Final

# Groups of words that ask the same. The first of each stands for the group.
_SAME = """
    start begin commence launch
    end finish conclude terminate
    buy purchase
    price cost fee charge rate pricing
    change switch modify alter amend edit update
    make create set setup
    order track request obtain receive
    child kid children kids
    doctor gp physician
    car vehicle auto automobile
    phone mobile cellphone telephone smartphone
    flat apartment
    shop store
    film movie
    holiday vacation
    luggage baggage bag bags
    fast quick rapid speedy
    fastest quickest
    fix repair mend
    big large
    small little
    show display view see
    find locate look search
    delete remove erase
    cancel end
    job work employment position
    salary pay wage
    error fault bug
    error issue problem
    picture image photo photograph
    email mail
    website site webpage
    password passcode
    sign log
    signin login
    monthly month
    yearly annual annually year
    weekly week
    daily day
    weather forecast
    author wrote writer write
    famous known
    document paperwork papers
    trip travel journey
    deadline due
    submit file filing send
    book reserve booking reservation
    appointment slot
    contact reach
    quickly soon fast
    cheap inexpensive affordable
    expensive costly pricey
    correct right
    answer reply respond response
    ask query
    company firm business
    country nation
    city town
    street road
    lawyer solicitor attorney
    money cash
    illness sickness disease
    symptom sign
    medicine drug medication
    baby infant
    center centre
    color colour
    gray grey
    licence license
    cheque check
    program programme
    tyre tire
    organise organize
    cancelled canceled
    travelling traveling
    enable activate
    disable deactivate
    text font
    bigger larger
    smaller tinier
    ceo boss head
    run lead
    uk britain
    us usa america
    happen occur
    choose pick select
    enough sufficient
    keep retain
    learn study
    method approach technique
    speak talk
    teach instruct
    use utilize utilise employ
    difference differ
    example instance
    reason cause
    benefit advantage pro
    drawback disadvantage con downside
    ban prohibit forbid
    deliver ship delivery shipping
    customer client
    staff employee worker
    refund reimbursement
    broken damaged faulty
    rubbish garbage trash waste
    bin dustbin
    post mail
    taxi cab
    rent hire
    install setup
    clean cleaning cleaner
    tv television
    fridge refrigerator
    pc computer
    ad advert advertisement
    app application
"""


def _same(text: str) -> dict[str, frozenset[str]]:
    groups: dict[str, frozenset[str]] = {}
    for line in text.strip().splitlines():
        words = frozenset(line.split())
        for word in words:
            groups[word] = groups.get(word, frozenset()) | words
    return groups


SAME: Final = _same(_SAME)
"""Words to the words that ask the same, themselves included."""
